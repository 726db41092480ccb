package local

import (
	"context"
	"sync"

	"larder/store"
)

// claims keep two from changing what lies at the name of a path: Register while it puts an object there, GC while it takes
// one away. They are short, unlike import locks.
type claims struct {
	mu   sync.Mutex // guards held
	held map[store.StorePath]chan struct{}
}

func (c *claims) init() { c.held = map[store.StorePath]chan struct{}{} }

// take claims all paths together, after waiting for those who have some of them. So nobody who waits holds a claim.
func (c *claims) take(ctx context.Context, paths []store.StorePath) (release func(), err error) {
	for {
		busy := c.tryAll(paths)
		if busy == nil {
			return func() { c.release(paths) }, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryAll claims all paths, or returns what ends when one of them is free.
func (c *claims) tryAll(paths []store.StorePath) (busy <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range paths {
		if ch := c.held[p]; ch != nil {
			return ch
		}
	}
	for _, p := range paths {
		c.held[p] = make(chan struct{})
	}
	return nil
}

// try claims one path if it is free.
func (c *claims) try(p store.StorePath) bool { return c.tryAll([]store.StorePath{p}) == nil }

func (c *claims) release(paths []store.StorePath) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range paths {
		close(c.held[p])
		delete(c.held, p)
	}
}
