package nar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"larder/nar/tree"
)

// Errors of Dump, wrapped in a *fs.PathError that names the file.
var (
	// ErrSpecialFile says that a file is neither regular nor a directory nor a symlink, so that no NAR can hold it.
	ErrSpecialFile = errors.New("not a regular file, directory or symlink")
	// ErrChanged says that a file changed while it was being read.
	ErrChanged = errors.New("changed while being read")
)

// Dumper writes the NARs of trees on disk. The zero Dumper is ready for use.
type Dumper struct {
	// OnEntry, if not nil, is called for each entry before its contents are read. Its error ends the dump and is returned.
	OnEntry func(*Entry) error
}

// Dump writes the NAR of the tree at path to w and returns its size. Symlinks are dumped and never followed, not even
// path itself. A file counts as executable if its owner may execute it. Errors of the file system are *fs.PathError,
// wrapped; so are ErrSpecialFile and ErrChanged. What was written to w before an error is not an archive.
func Dump(ctx context.Context, w io.Writer, path string) (size int64, err error) {
	return (&Dumper{}).Dump(ctx, w, path)
}

// DumpAt is Dump of the file called name in the open directory dirfd, or of dirfd itself if name is ".".
func DumpAt(ctx context.Context, w io.Writer, dirfd int, name string) (size int64, err error) {
	return (&Dumper{}).DumpAt(ctx, w, dirfd, name)
}

// Dump is like the function Dump.
func (d *Dumper) Dump(ctx context.Context, w io.Writer, path string) (size int64, err error) {
	return d.DumpAt(ctx, w, unix.AT_FDCWD, cleanRoot(path))
}

// cleanRoot removes trailing slashes, with which the kernel would follow a symlink. An empty path stays what it is: none.
func cleanRoot(path string) string {
	if path == "" {
		return ""
	}
	return filepath.Clean(path)
}

// DumpAt is like the function DumpAt.
func (d *Dumper) DumpAt(ctx context.Context, w io.Writer, dirfd int, name string) (size int64, err error) {
	run := dumpRun{ctx: ctx, enc: newEncoder(w), root: name, onEntry: d.OnEntry}
	return run.dump(dirfd, name)
}

// dumpRun is one walk over a tree.
type dumpRun struct {
	ctx     context.Context
	enc     encoder
	root    string // for errors
	trail   trail
	dirs    tree.Stack
	todo    [][]dirent // for each open directory, the entries that are still to come
	dirents []byte     // scratch space
	onEntry func(*Entry) error
	// skipContents makes a walk that only counts the bytes of contents.
	skipContents bool
}

func (d *dumpRun) dump(dirfd int, name string) (size int64, err error) {
	defer d.enc.release()
	defer d.dirs.Close()
	if err := d.walk(dirfd, name); err != nil {
		return d.enc.offset(), err
	}
	err = d.enc.flush()
	return d.enc.offset(), err
}

func (d *dumpRun) walk(dirfd int, name string) error {
	d.enc.raw(wordMagic)
	if err := d.node(dirfd, dirent{name: name, typ: unix.DT_UNKNOWN}); err != nil {
		return err
	}
	for d.dirs.Depth() > 0 {
		todo := &d.todo[len(d.todo)-1]
		if len(*todo) == 0 {
			if err := d.leave(); err != nil {
				return err
			}
			continue
		}
		entry := (*todo)[0]
		*todo = (*todo)[1:]
		if reason := d.trail.next([]byte(entry.name)); reason != "" {
			return d.fail("dump", errors.New(reason))
		}
		d.enc.beginEntry(entry.name)
		if err := d.node(d.dirs.Top(), entry); err != nil {
			return err
		}
	}
	return nil
}

// node dumps a file or symlink, or the beginning of a directory.
func (d *dumpRun) node(dirfd int, entry dirent) error {
	if err := d.ctx.Err(); err != nil {
		return err
	}
	if entry.typ == unix.DT_UNKNOWN {
		var st unix.Stat_t
		if err := tree.LstatAt(dirfd, entry.name, &st); err != nil {
			return d.fail("lstat", err)
		}
		entry.typ = typeOf(st.Mode)
	}
	switch entry.typ {
	case unix.DT_REG:
		return d.regular(dirfd, entry.name)
	case unix.DT_DIR:
		return d.directory(dirfd, entry.name)
	case unix.DT_LNK:
		return d.symlink(dirfd, entry.name)
	}
	return d.fail("dump", fmt.Errorf("%w, but a %s", ErrSpecialFile, specialName(entry.typ)))
}

func specialName(typ byte) string {
	switch typ {
	case unix.DT_FIFO:
		return "FIFO"
	case unix.DT_SOCK:
		return "socket"
	case unix.DT_CHR:
		return "character device"
	case unix.DT_BLK:
		return "block device"
	}
	return fmt.Sprintf("file of type %d", typ)
}

func (d *dumpRun) regular(dirfd int, name string) error {
	// O_NONBLOCK: should it have become a FIFO, opening must not wait.
	fd, err := tree.OpenAt(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err == unix.ELOOP {
		err = ErrChanged
	}
	if err != nil {
		return d.fail("open", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := tree.Fstat(fd, &st); err != nil {
		return d.fail("fstat", err)
	}
	if typeOf(st.Mode) != unix.DT_REG {
		return d.fail("open", ErrChanged)
	}
	executable := st.Mode&unix.S_IXUSR != 0
	d.enc.beginRegular(executable, st.Size)
	if err := d.report(Entry{Type: Regular, Executable: executable, Size: st.Size, Offset: d.enc.offset()}); err != nil {
		return err
	}
	if d.skipContents {
		err = d.enc.skip(st.Size)
	} else {
		err = d.contents(fd, st.Size)
	}
	if err != nil {
		return err
	}
	d.enc.endRegular(st.Size)
	return d.end()
}

// contents reads a file into the encoder's buffer. It asks for a byte more than there should be, which tells at no cost
// whether the file has grown.
func (d *dumpRun) contents(fd int, left int64) error {
	const worthwhile = 32 << 10 // rather flush than read less than this
	for {
		if err := d.enc.reserve(int(min(left+1, worthwhile))); err != nil {
			return err
		}
		space, err := d.enc.room()
		if err != nil {
			return err
		}
		space = space[:min(left+1, int64(len(space)))]
		n, err := read(fd, space)
		switch {
		case err != nil:
			return d.fail("read", err)
		case n == 0 && left == 0:
			return nil
		case n == 0 || int64(n) > left:
			return d.fail("read", ErrChanged)
		}
		d.enc.advance(n)
		left -= int64(n)
		if left == 0 && n < len(space) {
			return nil
		}
		if err := d.ctx.Err(); err != nil {
			return err
		}
	}
}

func (d *dumpRun) symlink(dirfd int, name string) error {
	target, err := readlinkAt(dirfd, name)
	if err == unix.EINVAL {
		err = ErrChanged
	}
	if err != nil {
		return d.fail("readlink", err)
	}
	if reason := checkTarget(target); reason != "" {
		return d.fail("readlink", errors.New(reason))
	}
	if err := d.report(Entry{Type: Symlink, Target: target}); err != nil {
		return err
	}
	d.enc.symlink(target)
	return d.end()
}

func (d *dumpRun) directory(dirfd int, name string) error {
	fd, err := tree.OpenAt(dirfd, name, tree.DirFlags, 0)
	if err == unix.ELOOP || err == unix.ENOTDIR {
		err = ErrChanged
	}
	if err != nil {
		return d.fail("open", err)
	}
	if err := d.dirs.Push(fd); err != nil {
		return d.fail("open", err)
	}
	if err := d.report(Entry{Type: Directory}); err != nil {
		return err
	}
	if d.dirents == nil {
		d.dirents = make([]byte, direntBuffer)
	}
	var entries []dirent
	for end := false; !end; {
		if entries, end, err = readDirents(fd, d.dirents, entries); err != nil {
			return d.fail("readdir", err)
		}
		if err := d.ctx.Err(); err != nil {
			return err
		}
	}
	slices.SortFunc(entries, func(a, b dirent) int { return strings.Compare(a.name, b.name) })
	if reason := d.trail.enter(); reason != "" {
		return d.fail("dump", errors.New(reason))
	}
	d.todo = append(d.todo, entries)
	d.enc.beginDirectory()
	return d.enc.err
}

func (d *dumpRun) leave() error {
	d.trail.leave()
	d.todo = d.todo[:len(d.todo)-1]
	if err := d.dirs.Pop(); err != nil {
		if err == tree.ErrMoved {
			err = ErrChanged
		}
		return d.fail("leave", err)
	}
	d.enc.endDirectory()
	return d.end()
}

// end ends the directory entry of the node that just ended, unless that is the root.
func (d *dumpRun) end() error {
	if d.trail.depth() > 0 {
		d.enc.endEntry()
	}
	return d.enc.err
}

// report tells the observer about the current entry.
func (d *dumpRun) report(e Entry) error {
	if d.onEntry == nil {
		return nil
	}
	e.Path = string(d.trail.path)
	return d.onEntry(&e)
}

func (d *dumpRun) fail(op string, err error) error {
	path := d.root
	if len(d.trail.path) > 0 {
		path += "/" + string(d.trail.path)
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
