package nar

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"larder/nar/tree"
)

// RestoreOptions say how Restore makes a tree. The zero value makes ordinary files, with the permissions that the umask
// leaves, and demands that the stream ends where the archive does.
type RestoreOptions struct {
	// Canonical gives everything the metadata of a store object: modes 0444 and 0555 whatever the umask, modification time
	// one second after the epoch.
	Canonical bool
	// Sync makes the tree durable, its name in the parent directory included, before Restore returns.
	Sync bool
	// AllowTrailing accepts bytes after the archive, for streams in which NARs are embedded. Give a *bufio.Reader then: it
	// stands just behind the archive afterwards, while from any other reader some of what follows is lost. Files are written
	// in pieces of at most its buffer, which should therefore be large.
	AllowTrailing bool
	// OnEntry, if not nil, is called for each entry before it is made. Its error ends the work and is returned, wrapped.
	OnEntry func(*Entry) error
}

// Restore makes the tree of the archive in r at dest, and returns the archive's size. The parent of dest must exist, dest
// must not. Nothing outside dest is touched, whatever the archive says.
//
// On any error everything that was made is removed again, also when ctx is done; should that fail, the error says so. The
// error holds a *FormatError if the archive is malformed, a *fs.PathError if the file system refused, fs.ErrExist if dest
// exists, or what r returned.
func Restore(ctx context.Context, r io.Reader, dest string, opt RestoreOptions) (size int64, err error) {
	dest = filepath.Clean(dest)
	parent, name := filepath.Dir(dest), filepath.Base(dest)
	fd, err := tree.OpenAt(unix.AT_FDCWD, parent, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("restoring %s: %w", dest, &fs.PathError{Op: "open", Path: parent, Err: err})
	}
	defer unix.Close(fd)
	return restore(ctx, r, fd, name, dest, opt)
}

// RestoreAt is Restore to the name in the open directory dirfd.
func RestoreAt(ctx context.Context, r io.Reader, dirfd int, name string, opt RestoreOptions) (size int64, err error) {
	return restore(ctx, r, dirfd, name, name, opt)
}

func restore(ctx context.Context, r io.Reader, dirfd int, name, dest string, opt RestoreOptions) (int64, error) {
	if reason := checkName([]byte(name)); reason != "" {
		return 0, fmt.Errorf("restoring %s: %s", dest, reason)
	}
	reader, release := pooledReader(r)
	defer release()
	run := restoreRun{ctx: ctx, reader: reader, opt: opt, parent: dirfd, name: name, dest: dest}
	err := run.restore()
	run.dirs.Close()
	if err == nil {
		return run.reader.Offset(), nil
	}
	err = fmt.Errorf("restoring %s: %w", dest, err)
	if run.made {
		if _, failed := tree.RemoveAt(context.WithoutCancel(ctx), dirfd, name); failed != nil {
			err = fmt.Errorf("%w (and what was restored could not be removed: %w)", err, failed)
		}
	}
	return run.reader.Offset(), err
}

// restoreRun is the making of one tree.
type restoreRun struct {
	ctx    context.Context
	reader *Reader
	opt    RestoreOptions
	parent int    // directory that dest is in
	name   string // of dest in it
	dest   string // for errors
	made   bool   // dest was made by us
	dirs   tree.Stack
}

func (x *restoreRun) restore() error {
	for {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		e, err := x.reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if x.opt.OnEntry != nil {
			if err := x.opt.OnEntry(e); err != nil {
				return err
			}
		}
		depth := x.reader.trail.depth() // of open directories around the entry
		if e.Type == Directory {
			depth--
		}
		if err := x.leaveTo(depth); err != nil {
			return err
		}
		if err := x.make(e); err != nil {
			return err
		}
	}
	if !x.opt.AllowTrailing {
		if err := x.reader.ExpectEOF(); err != nil {
			return err
		}
	}
	if err := x.leaveTo(0); err != nil {
		return err
	}
	if x.opt.Sync {
		return x.sync()
	}
	return nil
}

func (x *restoreRun) make(e *Entry) error {
	dir, name := x.parent, x.name
	if e.Path != "" {
		dir, name = x.dirs.Top(), e.Name()
	}
	switch e.Type {
	case Regular:
		return x.regular(dir, name, e)
	case Symlink:
		return x.symlink(dir, name, e)
	default:
		return x.directory(dir, name, e)
	}
}

func (x *restoreRun) regular(dir int, name string, e *Entry) (err error) {
	mode := uint32(0o666)
	if x.opt.Canonical {
		mode = 0o444
	}
	if e.Executable {
		mode |= 0o111
	}
	fd, err := tree.OpenAt(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return x.fail("create", e, err)
	}
	x.made = true
	defer func() {
		// Network file systems report late write errors here.
		if failed := unix.Close(fd); failed != nil && failed != unix.EINTR && err == nil {
			err = x.fail("close", e, failed)
		}
	}()
	for x.reader.left > 0 {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		chunk, err := x.reader.peekContents()
		if err != nil {
			return err
		}
		if err := writeFull(fd, chunk); err != nil {
			return x.fail("write", e, err)
		}
		x.reader.discardContents(len(chunk))
	}
	return x.finish(fd, mode, e)
}

func (x *restoreRun) symlink(dir int, name string, e *Entry) error {
	if err := tree.Retry(func() error { return unix.Symlinkat(e.Target, dir, name) }); err != nil {
		return x.fail("symlink", e, err)
	}
	x.made = true
	if !x.opt.Canonical {
		return nil
	}
	err := tree.Retry(func() error {
		return unix.UtimesNanoAt(dir, name, canonicalTimes[:], unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return x.fail("utimes", e, err)
	}
	return nil
}

func (x *restoreRun) directory(dir int, name string, e *Entry) error {
	mode := uint32(0o777)
	if x.opt.Canonical {
		mode = 0o700 // until it is complete
	}
	if err := tree.Retry(func() error { return unix.Mkdirat(dir, name, mode) }); err != nil {
		return x.fail("mkdir", e, err)
	}
	x.made = true
	fd, err := tree.OpenAt(dir, name, tree.DirFlags, 0)
	if err != nil {
		return x.fail("open", e, err)
	}
	if err := x.dirs.Push(fd); err != nil {
		return x.fail("open", e, err)
	}
	return nil
}

// leaveTo completes directories until only depth are left open.
func (x *restoreRun) leaveTo(depth int) error {
	for x.dirs.Depth() > depth {
		// The reader is past this directory already: the error names dest.
		if err := x.finish(x.dirs.Top(), 0o555, &Entry{}); err != nil {
			return err
		}
		if err := x.dirs.Pop(); err != nil {
			return x.fail("leave", &Entry{}, err)
		}
	}
	return nil
}

// finish sets the metadata of a file or directory whose contents are complete.
func (x *restoreRun) finish(fd int, mode uint32, e *Entry) error {
	if !x.opt.Canonical {
		return nil
	}
	if err := tree.Retry(func() error { return unix.Fchmod(fd, mode) }); err != nil {
		return x.fail("chmod", e, err)
	}
	if err := setTimes(fd, &canonicalTimes); err != nil {
		return x.fail("utimes", e, err)
	}
	return nil
}

// sync flushes the file system: one call, one journal commit, however many files there are.
func (x *restoreRun) sync() error {
	fd, err := tree.OpenAt(x.parent, ".", tree.DirFlags, 0)
	if err != nil {
		return x.fail("sync", &Entry{}, err)
	}
	defer unix.Close(fd)
	if err := tree.Retry(func() error { return unix.Syncfs(fd) }); err != nil {
		return x.fail("sync", &Entry{}, err)
	}
	return nil
}

func (x *restoreRun) fail(op string, e *Entry, err error) error {
	return &fs.PathError{Op: op, Path: filepath.Join(x.dest, e.Path), Err: err}
}
