package realiser

import (
	"context"
	"errors"
	"sync"

	"larder/store"
)

// contents looks at what valid paths really are, and remembers the good ones for as
// long as somebody repairs: after that, anything may happen to them.
type contents struct {
	check func(context.Context, store.StorePath) error

	mu    sync.Mutex // guards what follows
	users int
	good  map[store.StorePath]bool
	told  map[store.StorePath]bool // that they are damaged
}

// begin says that a repair begins; end, that it is over.
func (c *contents) begin() (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.users--; c.users == 0 {
			c.good, c.told = nil, nil
		}
	}
}

// damage returns what is wrong with a valid path, or nil. The error says that it
// could not be found out.
func (c *contents) damage(ctx context.Context, p store.StorePath) (damage, err error) {
	c.mu.Lock()
	good := c.good[p]
	c.mu.Unlock()
	if good {
		return nil, nil
	}
	err = c.check(ctx, p)
	if errors.Is(err, store.ErrDamaged) {
		return err, nil
	}
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.users > 0 {
			if c.good == nil {
				c.good = map[store.StorePath]bool{}
			}
			c.good[p] = true
		}
	}
	return nil, err
}

// tell reports whether it is news that a path is damaged: goals of outputs and of
// their derivations look at the same ones.
func (c *contents) tell(p store.StorePath) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told[p] {
		return false
	}
	if c.users > 0 {
		if c.told == nil {
			c.told = map[store.StorePath]bool{}
		}
		c.told[p] = true
	}
	return true
}

// damaged returns those of valid paths that are damaged.
func (r *Realiser) damaged(g *goal, paths []store.StorePath) (bad []store.StorePath, err error) {
	for _, p := range paths {
		damage, err := r.contents.damage(g.ctx, p)
		if err != nil {
			return nil, err
		}
		if damage != nil {
			if r.contents.tell(p) {
				r.opt.Logger.Warn("a damaged path was found", "err", damage)
			}
			bad = append(bad, p)
		}
	}
	return bad, nil
}
