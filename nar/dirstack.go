package nar

import (
	"errors"

	"golang.org/x/sys/unix"
)

// maxOpenDirs is how many directories of a dirStack are open at once.
const maxOpenDirs = 32

// errMoved is what leaving a directory fails with if its parent is not the one we came from.
var errMoved = errors.New("a directory was moved while it was in use")

// dirStack is the chain of directories from the root of a walk to where it is now. Only the innermost ones are kept open;
// the others are opened again through "..", and that they are still the same ones is checked. So neither the limit of
// open descriptors nor that of path lengths bounds the depth, and nobody can lead the walk elsewhere by moving things.
type dirStack struct {
	levels []dirLevel
}

type dirLevel struct {
	fd       int // -1 while not open
	dev, ino uint64
}

func (s *dirStack) depth() int { return len(s.levels) }

// top is the descriptor of the innermost directory.
func (s *dirStack) top() int { return s.levels[len(s.levels)-1].fd }

// push takes over fd, a directory in the innermost one.
func (s *dirStack) push(fd int) error {
	s.levels = append(s.levels, dirLevel{fd: fd})
	i := len(s.levels) - 1 - maxOpenDirs
	if i < 0 || s.levels[i].fd < 0 {
		return nil
	}
	outer := &s.levels[i]
	var st unix.Stat_t
	if err := fstat(outer.fd, &st); err != nil {
		return err
	}
	outer.dev, outer.ino = st.Dev, st.Ino
	unix.Close(outer.fd)
	outer.fd = -1
	return nil
}

// pop closes the innermost directory and goes back to its parent.
func (s *dirStack) pop() error {
	last := len(s.levels) - 1
	if last > 0 && s.levels[last-1].fd < 0 {
		if err := s.reopen(last - 1); err != nil {
			return err
		}
	}
	unix.Close(s.levels[last].fd)
	s.levels = s.levels[:last]
	return nil
}

// reopen opens level i by way of the level below it.
func (s *dirStack) reopen(i int) error {
	outer := &s.levels[i]
	fd, err := openAt(s.levels[i+1].fd, "..", openDirFlags, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	if st.Dev != outer.dev || st.Ino != outer.ino {
		unix.Close(fd)
		return errMoved
	}
	outer.fd = fd
	return nil
}

// close closes whatever is open.
func (s *dirStack) close() {
	for _, level := range s.levels {
		if level.fd >= 0 {
			unix.Close(level.fd)
		}
	}
	s.levels = nil
}
