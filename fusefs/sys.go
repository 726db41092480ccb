package fusefs

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"
)

// System calls relative to the object directory, repeated when a signal
// interrupts them. No component of a path is ever followed if it is a symlink,
// and paths may be longer than PATH_MAX. Errors are plain errnos.

func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// openBeneath opens path below dirfd.
func openBeneath(dirfd int, path string, flags uint64) (int, error) {
	dirfd, path, done, err := shorten(dirfd, path)
	if err != nil {
		return -1, err
	}
	defer done()
	return openat2(dirfd, path, flags)
}

// statBeneath is lstat of path below dirfd.
func statBeneath(dirfd int, path string, st *unix.Stat_t) error {
	if !strings.Contains(path, "/") {
		return statAt(dirfd, path, st)
	}
	fd, err := openBeneath(dirfd, path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return retry(func() error { return unix.Fstat(fd, st) })
}

// statAt is lstat of one name in dirfd.
func statAt(dirfd int, name string, st *unix.Stat_t) error {
	return retry(func() error { return unix.Fstatat(dirfd, name, st, unix.AT_SYMLINK_NOFOLLOW) })
}

// readlinkBeneath reads the symlink at path below dirfd.
func readlinkBeneath(dirfd int, path string) ([]byte, error) {
	fd, err := openBeneath(dirfd, path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	buf := make([]byte, unix.PathMax)
	var n int
	err = retry(func() (err error) {
		n, err = unix.Readlinkat(fd, "", buf)
		return err
	})
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

// shorten replaces a path that is too long for one system call by a descriptor
// on the way and the rest.
func shorten(dirfd int, path string) (int, string, func(), error) {
	const most = unix.PathMax - 256
	done := func() {}
	for len(path) > most {
		cut := strings.LastIndexByte(path[:most], '/')
		if cut <= 0 {
			done()
			return -1, "", nil, unix.ENAMETOOLONG
		}
		fd, err := openat2(dirfd, path[:cut], unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		done()
		if err != nil {
			return -1, "", nil, err
		}
		done = func() { unix.Close(fd) }
		dirfd, path = fd, path[cut+1:]
	}
	return dirfd, path, done, nil
}

// openat2 refuses symlinks on the way; with O_PATH and O_NOFOLLOW the last
// component may be one and is then opened itself.
func openat2(dirfd int, path string, flags uint64) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	for {
		fd, err = unix.Openat2(dirfd, path, &how)
		// EAGAIN: a rename somewhere raced with the check of "beneath".
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// dirent is a name and its type, 0 if the file system did not tell.
type dirent struct {
	name string
	typ  uint8 // DT_*
}

// readDirents lists an open directory without "." and "..", in no order.
func readDirents(fd int) ([]dirent, error) {
	const header = 8 + 8 + 2 + 1 // struct linux_dirent64: ino, off, reclen, type
	var list []dirent
	buf := make([]byte, 64<<10)
	for {
		var n int
		err := retry(func() (err error) {
			n, err = unix.Getdents(fd, buf)
			return err
		})
		if err != nil || n == 0 {
			return list, err
		}
		for b := buf[:n]; len(b) > header; {
			reclen := binary.NativeEndian.Uint16(b[16:])
			name, _, _ := strings.Cut(string(b[header:reclen]), "\x00")
			if name != "." && name != ".." {
				list = append(list, dirent{name, b[18]})
			}
			b = b[reclen:]
		}
	}
}
