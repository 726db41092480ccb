package fusefs

import "sync"

// lookups counts, for each object, the references that the kernel holds to its
// nodes: every LOOKUP (and READDIRPLUS entry) that was answered adds one, FORGET
// takes them back. An object without any is unused: nobody has it, or anything
// in it, open, mapped, as current directory or in the dentry cache. Memory is
// bounded by the kernel's own inode cache. Methods may be called concurrently.
type lookups struct {
	mu      sync.Mutex // guards what follows
	objects map[uint32]*held
}

type held struct {
	count    uint64
	ending   chan struct{} // not nil: the last reference went, closed when that has been dealt with
	forgiven chan struct{} // closed when count becomes 0; made when somebody waits
}

func newLookups() *lookups { return &lookups{objects: map[uint32]*held{}} }

// add counts a reference. If the last one is just being dealt with, it counts
// nothing and returns a channel to wait for; the object's number may then be
// gone.
func (l *lookups) add(object uint32) (ending <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.objects[object]
	if h == nil {
		h = &held{}
		l.objects[object] = h
	}
	if h.ending != nil {
		return h.ending
	}
	h.count++
	return nil
}

// forget takes n references back. If these were the last ones, last is true and
// the caller must call ended when it has dealt with it; add waits till then.
func (l *lookups) forget(object uint32, n uint64) (last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.objects[object]
	if h == nil || h.ending != nil {
		return false
	}
	if h.count > n {
		h.count -= n
		return false
	}
	h.count = 0
	h.ending = make(chan struct{})
	return true
}

func (l *lookups) ended(object uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.objects[object]
	delete(l.objects, object)
	close(h.ending)
	if h.forgiven != nil {
		close(h.forgiven)
	}
}

// held reports whether the kernel has a reference.
func (l *lookups) held(object uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.objects[object]
	return h != nil && h.count > 0
}

// unused returns a channel that is closed when the kernel has no reference.
func (l *lookups) unused(object uint32) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.objects[object]
	if h == nil {
		c := make(chan struct{})
		close(c)
		return c
	}
	if h.forgiven == nil {
		h.forgiven = make(chan struct{})
	}
	return h.forgiven
}
