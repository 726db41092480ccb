package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"larder/nar/tree"
)

// What Canonicalise refuses, wrapped in a *fs.PathError that names the file.
var (
	// ErrSpecialFile: a device, socket or pipe.
	ErrSpecialFile = errors.New("it is neither a regular file nor a directory nor a symlink")
	// ErrSetID: a program that would run with another identity.
	ErrSetID = errors.New("it has the setuid or setgid bit")
	// ErrOwner: a file of somebody else, or one that others could write.
	ErrOwner = errors.New("suspicious ownership or permission")
)

// Canonicalise gives a tree at a temporary name the metadata of a store object: owner and group of this process (as root),
// modes 0444 and 0555, modification time 1, no extended attributes or ACLs. With uid >= 0 everything in it must belong to
// that user, as the builder's outputs must, and the top must not be writable for others: the same as Nix demands.
//
// The tree may be hostile but must not change any more: whoever made it is gone. Symlinks are not followed and mount points
// not crossed. Errors are *fs.PathError that wrap ErrSpecialFile, ErrSetID, ErrOwner or what the system said (EPERM for an
// immutable file); the tree is then half done and of no use.
func (s *Store) Canonicalise(ctx context.Context, temp string, uid int) error {
	if err := s.writable(); err != nil {
		return err
	}
	if err := s.temps.check(temp); err != nil {
		return err
	}
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	c := canonicaliser{ctx: ctx, root: filepath.Join(s.objectDir, temp), uid: uid, owner: unix.Geteuid(), group: unix.Getegid()}
	defer c.dirs.Close()
	return c.run(s.objects, temp)
}

// canonicaliser is one walk over a tree.
type canonicaliser struct {
	ctx          context.Context
	root         string // for errors
	uid          int    // who must own everything, -1: anybody
	owner, group int
	dirs         tree.Stack
	trail        []string        // names of the directories below the root
	todo         [][]string      // for each open directory, the names still to come
	linked       map[uint64]bool // inodes with several links that were seen
	buf          []byte
}

func (c *canonicaliser) run(dirfd int, name string) error {
	c.buf = make([]byte, 64<<10)
	if err := c.enter(dirfd, name); err != nil {
		return err
	}
	for c.dirs.Depth() > 0 {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		names := &c.todo[len(c.todo)-1]
		if len(*names) == 0 {
			if err := c.leave(); err != nil {
				return err
			}
			continue
		}
		name := (*names)[0]
		*names = (*names)[1:]
		if err := c.enter(c.dirs.Top(), name); err != nil {
			return err
		}
	}
	return nil
}

// enter does a file, or begins a directory, which gets its final mode when its entries are done.
func (c *canonicaliser) enter(dirfd int, name string) error {
	top := c.dirs.Depth() == 0
	// O_PATH: opening some special files would do something, and a file need not be readable.
	fd, err := openBelow(dirfd, name, unix.O_PATH)
	if err == unix.EXDEV {
		err = errors.New("something is mounted there")
	}
	if err != nil {
		return c.fail("open", name, err)
	}
	var st unix.Stat_t
	if err = tree.Fstat(fd, &st); err == nil {
		err = c.check(&st, top)
	}
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = c.enterDir(fd, dirfd, name, &st)
	} else if err == nil {
		err = c.settle(fd, &st)
	}
	unix.Close(fd)
	if err != nil {
		return c.fail("canonicalise", name, err)
	}
	return nil
}

func (c *canonicaliser) check(st *unix.Stat_t, top bool) error {
	kind := st.Mode & unix.S_IFMT
	switch kind {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK:
	default:
		return ErrSpecialFile
	}
	if kind == unix.S_IFREG && st.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
		return ErrSetID
	}
	if c.uid < 0 {
		return nil
	}
	if top && kind != unix.S_IFLNK && st.Mode&0o022 != 0 {
		return fmt.Errorf("%w: mode %04o", ErrOwner, st.Mode&0o7777)
	}
	if st.Uid != uint32(c.uid) && !c.linked[st.Ino] && !c.linkedBefore(st) {
		return fmt.Errorf("%w: owner %d, expected %d", ErrOwner, st.Uid, c.uid)
	}
	return nil
}

// linkedBefore reports whether a file of ours is a link to one in another output of the same build, which is canonical and
// ours by now. Nothing else of ours is where a builder could link to it: that does not work across mounts, and the mount points
// in its store have another modification time.
func (c *canonicaliser) linkedBefore(st *unix.Stat_t) bool {
	mode := st.Mode & 0o7777
	return st.Uid == uint32(c.owner) && st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 &&
		st.Mtim.Sec == 1 && st.Mtim.Nsec == 0 && (mode == 0o444 || mode == 0o555 || st.Mode&unix.S_IFMT == unix.S_IFLNK)
}

func (c *canonicaliser) enterDir(fd, dirfd int, name string, st *unix.Stat_t) error {
	if st.Mode&0o500 != 0o500 || c.owner != 0 && st.Mode&0o700 != 0o700 {
		if err := tree.Retry(func() error { return unix.Chmod(tree.ProcPath(fd), 0o700) }); err != nil {
			return err
		}
	}
	dir, err := openBelow(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	var same unix.Stat_t
	if err := tree.Fstat(dir, &same); err != nil || same.Ino != st.Ino {
		unix.Close(dir)
		return errors.Join(err, tree.ErrMoved)
	}
	if c.dirs.Depth() > 0 {
		c.trail = append(c.trail, name)
	}
	if err := c.dirs.Push(dir); err != nil {
		return err
	}
	var names []string
	for {
		var n int
		err := tree.Retry(func() error {
			n, err = unix.ReadDirent(dir, c.buf)
			return err
		})
		if err != nil {
			return err
		}
		if n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent(c.buf[:n], -1, names)
	}
	c.todo = append(c.todo, names)
	return nil
}

// leave finishes the innermost directory.
func (c *canonicaliser) leave() error {
	fd := c.dirs.Top()
	var st unix.Stat_t
	err := tree.Fstat(fd, &st)
	if err == nil {
		err = c.settle(fd, &st)
	}
	if err == nil {
		err = c.dirs.Pop()
	}
	if err != nil {
		return c.fail("canonicalise", "", err)
	}
	c.todo = c.todo[:len(c.todo)-1]
	if len(c.trail) > 0 {
		c.trail = c.trail[:len(c.trail)-1]
	}
	return nil
}

// canonicalTimes leaves the access time alone and sets the modification time to one second after the epoch.
var canonicalTimes = []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: 1}}

// settle sets the metadata of one file by its descriptor.
func (c *canonicaliser) settle(fd int, st *unix.Stat_t) error {
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if c.linked[st.Ino] {
			return nil
		}
		if c.linked == nil {
			c.linked = map[uint64]bool{}
		}
		c.linked[st.Ino] = true
	}
	if err := c.removeAttributes(fd); err != nil {
		return err
	}
	if c.owner == 0 && (st.Uid != uint32(c.owner) || st.Gid != uint32(c.group)) {
		err := tree.Retry(func() error { return unix.Fchownat(fd, "", c.owner, c.group, unix.AT_EMPTY_PATH) })
		if err != nil {
			return fmt.Errorf("chown: %w", err)
		}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		mode := uint32(0o444)
		if st.Mode&unix.S_IFMT == unix.S_IFDIR || st.Mode&0o100 != 0 {
			mode = 0o555
		}
		// Even if it has that mode already: removing an ACL changes what the bits mean.
		if err := tree.Retry(func() error { return unix.Chmod(tree.ProcPath(fd), mode) }); err != nil {
			return fmt.Errorf("chmod: %w", err)
		}
	}
	if st.Mtim.Sec != 1 || st.Mtim.Nsec != 0 {
		// By /proc: AT_EMPTY_PATH works here only since Linux 5.8.
		if err := tree.Retry(func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, tree.ProcPath(fd), canonicalTimes, 0) }); err != nil {
			return fmt.Errorf("set time: %w", err)
		}
	}
	return nil
}

// keptAttribute tells which attributes belong to the machine and not to the file.
func keptAttribute(name string) bool {
	return name == "security.selinux" || name == "system.nfs4_acl"
}

func (c *canonicaliser) removeAttributes(fd int) error {
	path := tree.ProcPath(fd)
	var n int
	err := tree.Retry(func() (err error) {
		n, err = unix.Listxattr(path, c.buf)
		return err
	})
	if err == unix.ENOTSUP || n == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(c.buf[:n]), "\x00"), "\x00") {
		if keptAttribute(name) {
			continue
		}
		if err := tree.Retry(func() error { return unix.Removexattr(path, name) }); err != nil && err != unix.ENODATA {
			return fmt.Errorf("remove extended attribute %s: %w", name, err)
		}
	}
	return nil
}

func (c *canonicaliser) fail(op, name string, err error) error {
	path := append([]string{c.root}, c.trail...)
	if c.dirs.Depth() > 0 && name != "" {
		path = append(path, name)
	}
	return &fs.PathError{Op: op, Path: filepath.Join(path...), Err: err}
}
