package nar

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// removal is one directory that is being emptied.
type removal struct {
	name string   // in its parent
	dirs []string // names found in it that are directories, still to be removed
	seen bool     // something was found in it since it was last read from its beginning
}

// removeAt removes the file, symlink or tree called name in the directory dirfd, without following symlinks. It is no error
// if there is nothing. Directories must belong to the caller, who may not have the right to write in them yet.
func removeAt(dirfd int, name string) error {
	err := unlinkAt(dirfd, name, 0)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if !isDirectoryError(err) {
		return err
	}
	var dirs dirStack
	defer dirs.close()
	var stack []removal
	enter := func(in int, name string) error {
		fd, err := openAt(in, name, openDirFlags, 0)
		if err != nil {
			return fmt.Errorf("open %q: %w", name, err)
		}
		// If this is refused, so will be the removal of what is in it, which reports it.
		_ = unix.Fchmod(fd, 0o700)
		stack = append(stack, removal{name: name})
		return dirs.push(fd)
	}
	if err := enter(dirfd, name); err != nil {
		return err
	}
	buf := make([]byte, direntBuffer)
	for len(stack) > 0 {
		current := &stack[len(stack)-1]
		if n := len(current.dirs); n > 0 {
			child := current.dirs[n-1]
			current.dirs = current.dirs[:n-1]
			if err := enter(dirs.top(), child); err != nil {
				return err
			}
			continue
		}
		empty, err := current.unlinkSome(dirs.top(), buf)
		if err != nil {
			return err
		}
		if !empty {
			continue
		}
		name, parent := current.name, dirfd
		stack = stack[:len(stack)-1]
		if err := dirs.pop(); err != nil {
			return err
		}
		if len(stack) > 0 {
			parent = dirs.top()
		}
		if err := unlinkAt(parent, name, unix.AT_REMOVEDIR); err != nil {
			return fmt.Errorf("rmdir %q: %w", name, err)
		}
	}
	return nil
}

// unlinkSome reads a batch of names, unlinks what is not a directory and notes the others. It reports whether the
// directory is empty. As names vanish while it is being read, it is read again until nothing is found.
func (r *removal) unlinkSome(fd int, buf []byte) (empty bool, err error) {
	entries, end, err := readDirents(fd, buf, nil)
	if err != nil {
		return false, fmt.Errorf("readdir %q: %w", r.name, err)
	}
	for _, entry := range entries {
		r.seen = true
		if entry.typ == unix.DT_DIR {
			r.dirs = append(r.dirs, entry.name)
			continue
		}
		err := unlinkAt(fd, entry.name, 0)
		switch {
		case err == nil || err == unix.ENOENT:
		case isDirectoryError(err):
			r.dirs = append(r.dirs, entry.name)
		default:
			return false, fmt.Errorf("unlink %q: %w", entry.name, err)
		}
	}
	if !end || len(r.dirs) > 0 {
		return false, nil
	}
	if !r.seen {
		return true, nil
	}
	r.seen = false
	_, err = unix.Seek(fd, 0, unix.SEEK_SET)
	return false, err
}
