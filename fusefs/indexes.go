package fusefs

import (
	"container/list"
	"sync"
)

// indexes remembers the indexes of objects, least recently used ones are
// forgotten when all together hold more than max entries. An index can be made
// again at any time. Methods may be called concurrently.
type indexes struct {
	build func(object uint32) (*index, error)
	max   int // entries, not objects

	mu       sync.Mutex // guards what follows
	byObject map[uint32]*list.Element
	recent   list.List // of *indexSlot, the most recently used first
	total    int
}

type indexSlot struct {
	object uint32
	ready  chan struct{} // closed when index and err are set
	index  *index
	err    error

	counted bool // in total; guarded by indexes.mu
}

func newIndexes(maxEntries int, build func(uint32) (*index, error)) *indexes {
	return &indexes{build: build, max: maxEntries, byObject: map[uint32]*list.Element{}}
}

// get returns the index of an object; many that ask at once wait for one walk.
func (c *indexes) get(object uint32) (*index, error) {
	c.mu.Lock()
	if e, ok := c.byObject[object]; ok {
		c.recent.MoveToFront(e)
		c.mu.Unlock()
		s := e.Value.(*indexSlot)
		<-s.ready
		return s.index, s.err
	}
	s := &indexSlot{object: object, ready: make(chan struct{})}
	c.byObject[object] = c.recent.PushFront(s)
	c.mu.Unlock()

	s.index, s.err = c.build(object)
	close(s.ready)

	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byObject[object]; e == nil || e.Value != any(s) {
		return s.index, s.err // dropped meanwhile
	}
	if s.err != nil {
		c.removeLocked(s)
		return nil, s.err
	}
	s.counted = true
	c.total += s.index.len()
	for e := c.recent.Back(); e != nil && c.total > c.max; {
		old := e.Value.(*indexSlot)
		e = e.Prev()
		if old != s && old.counted {
			c.removeLocked(old)
		}
	}
	return s.index, nil
}

// drop forgets an object that is about to be deleted.
func (c *indexes) drop(object uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byObject[object]; ok {
		c.removeLocked(e.Value.(*indexSlot))
	}
}

func (c *indexes) removeLocked(s *indexSlot) {
	c.recent.Remove(c.byObject[s.object])
	delete(c.byObject, s.object)
	if s.counted {
		c.total -= s.index.len()
	}
}
