package local

import (
	"golang.org/x/sys/unix"

	"larder/nar/tree"
)

// System calls, relative to descriptors and repeated when a signal interrupts them. Errors are plain errnos; callers know
// the path.

// openBelow opens a name in a directory, and neither follows a symlink nor crosses a mount point.
func openBelow(dirfd int, name string, flags int) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	for range 100 {
		err = tree.Retry(func() error {
			fd, err = unix.Openat2(dirfd, name, &how)
			return err
		})
		if err != unix.EAGAIN { // something was renamed somewhere meanwhile, says openat2(2)
			break
		}
	}
	return fd, err
}

// renameNew renames within a directory and fails with EEXIST rather than replace anything.
func renameNew(dirfd int, from, to string) error {
	return tree.Retry(func() error { return unix.Renameat2(dirfd, from, dirfd, to, unix.RENAME_NOREPLACE) })
}

// identity tells whether a file of the object directory is the very one that was seen before. Inode numbers are used again
// after a deletion, birth times (where the file system has them) hardly. Device numbers say nothing: all of the directory is on
// one, whose number may be another after a restart of the machine.
type identity struct {
	ino   uint64
	birth int64 // ns since the epoch, 0 if the file system does not say
}

func identify(dirfd int, name string) (identity, error) {
	var st unix.Statx_t
	err := tree.Retry(func() error {
		return unix.Statx(dirfd, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st)
	})
	if err != nil {
		return identity{}, err
	}
	id := identity{ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.birth = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return id, nil
}
