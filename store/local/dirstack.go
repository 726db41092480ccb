package local

import (
	"errors"

	"golang.org/x/sys/unix"
)

// maxOpenDirs is how many directories of a dirStack are open at once.
const maxOpenDirs = 32

// errMoved is what leaving a directory fails with if its parent is not the one we came from.
var errMoved = errors.New("a directory was moved while it was in use")

// dirStack is the chain of directories from the top of a walk to where it is now. Only the innermost are open; the others
// are opened again through "..", and that they are the same ones is checked. So a tree may be as deep as it likes.
type dirStack []openDir

type openDir struct {
	fd       int // -1 while not open
	dev, ino uint64
}

func (s dirStack) top() int { return s[len(s)-1].fd }

// push takes over fd, a directory in the innermost one.
func (s *dirStack) push(fd int) error {
	*s = append(*s, openDir{fd: fd})
	i := len(*s) - 1 - maxOpenDirs
	if i < 0 || (*s)[i].fd < 0 {
		return nil
	}
	outer := &(*s)[i]
	var st unix.Stat_t
	if err := fstat(outer.fd, &st); err != nil {
		return err
	}
	unix.Close(outer.fd)
	*outer = openDir{fd: -1, dev: st.Dev, ino: st.Ino}
	return nil
}

// pop closes the innermost directory and goes back to its parent.
func (s *dirStack) pop() error {
	last := len(*s) - 1
	inner := (*s)[last]
	var err error
	if last > 0 && (*s)[last-1].fd < 0 {
		err = (*s)[last-1].reopen(inner.fd)
	}
	unix.Close(inner.fd)
	*s = (*s)[:last]
	return err
}

func (d *openDir) reopen(inner int) error {
	fd, err := openAt(inner, "..", openDirFlags)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	if st.Dev != d.dev || st.Ino != d.ino {
		unix.Close(fd)
		return errMoved
	}
	d.fd = fd
	return nil
}

func (s *dirStack) close() {
	for _, d := range *s {
		if d.fd >= 0 {
			unix.Close(d.fd)
		}
	}
	*s = nil
}
