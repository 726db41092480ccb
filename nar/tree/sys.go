package tree

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// DirFlags open a directory for reading, and only a directory. PathFlags open anything, for reference only; see open(2).
const (
	DirFlags  = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	PathFlags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
)

// Retry calls until a signal does not interrupt the call any more.
func Retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// OpenAt is openat(2).
func OpenAt(dirfd int, name string, flags int, mode uint32) (fd int, err error) {
	err = Retry(func() error {
		fd, err = unix.Openat(dirfd, name, flags, mode)
		return err
	})
	return fd, err
}

// Fstat is fstat(2).
func Fstat(fd int, st *unix.Stat_t) error {
	return Retry(func() error { return unix.Fstat(fd, st) })
}

// LstatAt is fstatat(2) of the name itself, be it a symlink.
func LstatAt(dirfd int, name string, st *unix.Stat_t) error {
	return Retry(func() error { return unix.Fstatat(dirfd, name, st, unix.AT_SYMLINK_NOFOLLOW) })
}

// UnlinkAt is unlinkat(2).
func UnlinkAt(dirfd int, name string, flags int) error {
	return Retry(func() error { return unix.Unlinkat(dirfd, name, flags) })
}

// ProcPath names an open descriptor, also an O_PATH one, for calls that want a path. Where it leads does not depend on
// what others rename meanwhile.
func ProcPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
