package tree

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Remove is RemoveAt of a path, whose parent directory is trusted. Its errors are *fs.PathError.
func Remove(ctx context.Context, path string) error {
	parent, err := OpenAt(unix.AT_FDCWD, filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err == nil {
		defer unix.Close(parent)
		_, err = RemoveAt(ctx, parent, filepath.Base(path))
	}
	if err != nil {
		return &fs.PathError{Op: "remove", Path: path, Err: err}
	}
	return nil
}

// RemoveAt removes the file, symlink or tree called name in the directory dirfd. It follows no symlink, gives itself the
// right to write where it lacks it, and can be repeated after an error. Nothing there is no error. Freed is how many bytes
// of disk that gave back: a file with several links gives its blocks back with the last.
func RemoveAt(ctx context.Context, dirfd int, name string) (freed int64, err error) {
	return RemoveLinkedAt(ctx, dirfd, name, 1)
}

// RemoveLinkedAt is RemoveAt where a file with up to so many links counts as given back: the caller removes the others.
func RemoveLinkedAt(ctx context.Context, dirfd int, name string, links uint64) (freed int64, err error) {
	freed, isDir, err := unlinkFile(dirfd, name, links)
	if err != nil || !isDir {
		return freed, err
	}
	var dirs Stack
	defer dirs.Close()
	stack := []removal{}
	enter := func(in int, name string) error {
		fd, err := openWritable(in, name)
		if err != nil {
			return fmt.Errorf("open %q: %w", name, err)
		}
		stack = append(stack, removal{name: name})
		return dirs.Push(fd)
	}
	if err := enter(dirfd, name); err != nil {
		return freed, err
	}
	buf := make([]byte, 32<<10)
	for len(stack) > 0 {
		if err := ctx.Err(); err != nil {
			return freed, err
		}
		top := &stack[len(stack)-1]
		if n := len(top.todo); n > 0 {
			child := top.todo[n-1]
			top.todo = top.todo[:n-1]
			if err := enter(dirs.Top(), child); err != nil {
				return freed, err
			}
			continue
		}
		bytes, empty, err := top.unlinkSome(dirs.Top(), buf, links)
		freed += bytes
		if err != nil {
			return freed, err
		}
		if !empty {
			continue
		}
		var st unix.Stat_t
		if err := Fstat(dirs.Top(), &st); err != nil {
			return freed, fmt.Errorf("rmdir %q: %w", top.name, err)
		}
		done, parent := top.name, dirfd
		stack = stack[:len(stack)-1]
		if err := dirs.Pop(); err != nil {
			return freed, fmt.Errorf("rmdir %q: %w", done, err)
		}
		if len(stack) > 0 {
			parent = dirs.Top()
		}
		if err := UnlinkAt(parent, done, unix.AT_REMOVEDIR); err != nil {
			return freed, fmt.Errorf("rmdir %q: %w", done, err)
		}
		freed += st.Blocks * 512
	}
	return freed, nil
}

// removal is one directory that is being emptied.
type removal struct {
	name string   // in its parent
	todo []string // directories found in it that are still to be removed
}

// openWritable opens a directory and makes it ours to change.
func openWritable(dirfd int, name string) (int, error) {
	fd, err := OpenAt(dirfd, name, DirFlags, 0)
	if err == unix.EACCES {
		if fd, err = OpenAt(dirfd, name, PathFlags|unix.O_DIRECTORY, 0); err != nil {
			return -1, err
		}
		err = Retry(func() error { return unix.Chmod(ProcPath(fd), 0o700) })
		unix.Close(fd)
		if err != nil {
			return -1, err
		}
		fd, err = OpenAt(dirfd, name, DirFlags, 0)
	}
	if err == nil {
		// If this is refused, so is the removal of what is in it, and that is reported.
		_ = unix.Fchmod(fd, 0o700)
	}
	return fd, err
}

// unlinkSome reads a batch of names, unlinks what is not a directory and notes the others. It reports whether the directory
// is empty.
func (r *removal) unlinkSome(fd int, buf []byte, links uint64) (freed int64, empty bool, err error) {
	// From the beginning each time: positions mean little in a directory that shrinks.
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return 0, false, fmt.Errorf("readdir %q: %w", r.name, err)
	}
	names, err := nextNames(fd, buf)
	if err != nil {
		return 0, false, fmt.Errorf("readdir %q: %w", r.name, err)
	}
	for _, name := range names {
		bytes, isDir, err := unlinkFile(fd, name, links)
		freed += bytes
		if err != nil {
			return freed, false, fmt.Errorf("unlink %q: %w", name, err)
		}
		if isDir {
			r.todo = append(r.todo, name)
		}
	}
	return freed, len(names) == 0, nil
}

// nextNames reads names from a directory, and returns none only at its end: a signal may end getdents(2) after the first
// record, which is ".", and Go's runtime sends itself many.
func nextNames(fd int, buf []byte) (names []string, err error) {
	for len(names) == 0 {
		var n int
		err := Retry(func() error {
			n, err = unix.ReadDirent(fd, buf)
			return err
		})
		if err != nil || n == 0 {
			return nil, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, nil)
	}
	return names, nil
}

// unlinkFile removes a file that is not a directory, and says so if it is one.
func unlinkFile(dirfd int, name string, links uint64) (freed int64, isDir bool, err error) {
	var st unix.Stat_t
	err = LstatAt(dirfd, name, &st)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return 0, true, nil
	}
	if err == nil {
		err = UnlinkAt(dirfd, name, 0)
	}
	if err == unix.ENOENT {
		return 0, false, nil
	}
	if err == nil && uint64(st.Nlink) <= links {
		freed = st.Blocks * 512
	}
	return freed, false, err
}
