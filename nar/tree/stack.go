package tree

import (
	"errors"

	"golang.org/x/sys/unix"
)

// maxOpen is how many directories of a Stack are open at once.
const maxOpen = 32

// ErrMoved is what leaving a directory fails with if its parent is not the one that the walk came from.
var ErrMoved = errors.New("a directory was moved while it was in use")

// Stack is the chain of directories from the top of a walk to where it is now. Only the innermost ones are kept open; the
// others are opened again through "..", and that they are still the same ones is checked. The zero Stack is empty and ready.
type Stack struct {
	levels []level
}

type level struct {
	fd       int // -1 while not open
	dev, ino uint64
}

// Depth is the number of directories.
func (s *Stack) Depth() int { return len(s.levels) }

// Top is the descriptor of the innermost directory. It belongs to the Stack.
func (s *Stack) Top() int { return s.levels[len(s.levels)-1].fd }

// Push takes over fd, a directory in the innermost one.
func (s *Stack) Push(fd int) error {
	s.levels = append(s.levels, level{fd: fd})
	i := len(s.levels) - 1 - maxOpen
	if i < 0 || s.levels[i].fd < 0 {
		return nil
	}
	outer := &s.levels[i]
	var st unix.Stat_t
	if err := Fstat(outer.fd, &st); err != nil {
		return err
	}
	unix.Close(outer.fd)
	*outer = level{fd: -1, dev: st.Dev, ino: st.Ino}
	return nil
}

// Pop closes the innermost directory and goes back to its parent.
func (s *Stack) Pop() error {
	last := len(s.levels) - 1
	inner := s.levels[last].fd
	var err error
	if last > 0 && s.levels[last-1].fd < 0 {
		err = s.levels[last-1].reopen(inner)
	}
	unix.Close(inner)
	s.levels = s.levels[:last]
	return err
}

// reopen opens a directory by way of the one in it.
func (l *level) reopen(inner int) error {
	fd, err := OpenAt(inner, "..", DirFlags, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	if st.Dev != l.dev || st.Ino != l.ino {
		unix.Close(fd)
		return ErrMoved
	}
	l.fd = fd
	return nil
}

// Close closes whatever is open. The Stack is empty afterwards.
func (s *Stack) Close() {
	for _, l := range s.levels {
		if l.fd >= 0 {
			unix.Close(l.fd)
		}
	}
	s.levels = nil
}
