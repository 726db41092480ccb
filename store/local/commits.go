package local

import (
	"context"
	"slices"
	"sync"
)

// commits gathers registrations that come at the same time into one commit, which costs two syncs however many they are.
// There is no goroutine of its own: one of the callers leads and works for the others that have come until then.
type commits struct {
	// token is held by who changes which paths are valid: the leader, or GC for a moment. It is a channel and no mutex,
	// because it is held across I/O and waited for with a context.
	token chan struct{}

	mu    sync.Mutex // guards queue
	queue []*registration
}

func (c *commits) init() { c.token = make(chan struct{}, 1) }

// run waits until r is done, by this caller or by another. If ctx ends before r's commit begins, r is withdrawn.
func (c *commits) run(ctx context.Context, r *registration, commit func([]*registration)) error {
	c.mu.Lock()
	c.queue = append(c.queue, r)
	c.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		if c.withdraw(r) {
			return ctx.Err()
		}
		<-r.done
		return r.err
	case c.token <- struct{}{}:
	}
	c.mu.Lock()
	group := c.queue
	c.queue = nil
	c.mu.Unlock()
	if len(group) > 0 {
		commit(slices.Clone(group)) // it drops those that failed from the slice
		for _, g := range group {
			close(g.done)
		}
	}
	<-c.token
	<-r.done // r was in this group or in one before
	return r.err
}

func (c *commits) withdraw(r *registration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, q := range c.queue {
		if q == r {
			c.queue = append(c.queue[:i:i], c.queue[i+1:]...)
			return true
		}
	}
	return false
}

// hold takes the token, so that no registration begins to commit until release.
func (c *commits) hold(ctx context.Context) (release func(), err error) {
	select {
	case c.token <- struct{}{}:
		return func() { <-c.token }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
