package fusefs

import (
	"container/list"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// files keeps backing files open between READs. With zero-message opens nobody
// tells when a file is closed, so the number is bounded and the least recently
// used ones go. Methods may be called concurrently.
type files struct {
	open func(id nodeID) (int, error)
	max  int

	mu     sync.Mutex // guards what follows, and users and dropped of each file
	byNode map[nodeID]*list.Element
	recent list.List // of *file, the most recently used first
}

// file is an open backing file. The one who got it must give it back with put.
type file struct {
	id      nodeID
	fd      int
	size    int64
	users   int
	dropped bool // no longer in the table; the last user closes it
}

func newFiles(max int, open func(nodeID) (int, error)) *files {
	return &files{open: open, max: max, byNode: map[nodeID]*list.Element{}}
}

func (t *files) get(id nodeID) (*file, error) {
	if f := t.lookup(id); f != nil {
		return f, nil
	}
	fd, err := t.open(id)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return nil, os.ErrInvalid
	}
	return t.insert(&file{id: id, fd: fd, size: st.Size, users: 1}), nil
}

func (t *files) lookup(id nodeID) *file {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.byNode[id]
	if !ok {
		return nil
	}
	t.recent.MoveToFront(e)
	f := e.Value.(*file)
	f.users++
	return f
}

// insert adds f unless another reader was faster, and makes room. Closing is
// done after the lock is released.
func (t *files) insert(f *file) *file {
	var idle []*file
	t.mu.Lock()
	if e, ok := t.byNode[f.id]; ok {
		idle = append(idle, f)
		f = e.Value.(*file)
		f.users++
	} else {
		t.byNode[f.id] = t.recent.PushFront(f)
		for len(t.byNode) > t.max {
			idle = t.dropLocked(t.recent.Back(), idle)
		}
	}
	t.mu.Unlock()
	closeAll(idle)
	return f
}

func (t *files) put(f *file) {
	t.mu.Lock()
	f.users--
	last := f.dropped && f.users == 0
	t.mu.Unlock()
	if last {
		unix.Close(f.fd)
	}
}

// drop forgets the files of an object, or all of them.
func (t *files) drop(match func(nodeID) bool) {
	var idle []*file
	t.mu.Lock()
	for id, e := range t.byNode {
		if match(id) {
			idle = t.dropLocked(e, idle)
		}
	}
	t.mu.Unlock()
	closeAll(idle)
}

func (t *files) dropLocked(e *list.Element, idle []*file) []*file {
	f := e.Value.(*file)
	t.recent.Remove(e)
	delete(t.byNode, f.id)
	f.dropped = true
	if f.users == 0 {
		idle = append(idle, f)
	}
	return idle
}

func closeAll(idle []*file) {
	for _, f := range idle {
		unix.Close(f.fd)
	}
}
