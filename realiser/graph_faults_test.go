package realiser

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var errInjected = errors.New("injected failure")

// faults fails an operation again and again, until it is told to stop.
type faults struct {
	within  int    // the next so many operations one fails
	only    string // operations; "": all
	stopped atomic.Bool

	mu     sync.Mutex // guards what follows
	random *rand.Rand
	next   int // operations until one fails; 0: not drawn
	hits   int
}

func (f *faults) fail(operation string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped.Load() || f.only != "" && f.only != operation {
		return nil
	}
	if f.next == 0 {
		f.next = 1 + f.random.IntN(f.within)
	}
	if f.next--; f.next > 0 {
		return nil
	}
	f.hits++
	return errInjected
}

// Whatever fails, and however often: nothing half-made is left, nothing that is
// held, and what failed can be had later.
func TestGraphWithFaults(t *testing.T) {
	for _, f := range []*faults{
		{only: "run", within: 50},
		{only: "register", within: 50},
		{only: "register realisation", within: 20},
		{only: "temporary name", within: 50},
		{only: "lock", within: 50},
		{only: "valid", within: 300},
		{within: 200},
	} {
		name := f.only
		if name == "" {
			name = "all"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGraphLab(t, smallGraph, recipe{many: 0.2, floating: 0.2, cached: 0.2}, nil)
			f.random = g.random
			g.strict.fail = f.fail
			g.during = func(context.Context, *node) error { return f.fail("run") }
			for _, keepGoing := range []bool{false, true} {
				var targets []Target
				for _, x := range g.nodes {
					targets = append(targets, x.target())
				}
				o, err := g.request(t.Context(), keepGoing, targets...)
				if err == nil {
					err = o.Err()
				}
				if err != nil && !strings.Contains(err.Error(), errInjected.Error()) {
					t.Errorf("the failure does not say why: %v", err)
				}
				g.checkIdle()
			}
			f.stopped.Store(true)
			if f.hits == 0 {
				t.Error("nothing failed")
			}
			g.complete()
			g.checkIdle()
		})
	}
}

// A store that is closed in the middle fails everything from then on, and ends it.
func TestGraphOnClosedStore(t *testing.T) {
	t.Parallel()
	g := newGraphLab(t, graphSize(), everything, nil)
	closed := errors.New("the store is closed")
	g.strict.fail = func(string) error {
		if g.started() > graphSize()/10 {
			return closed
		}
		return nil
	}
	var targets []Target
	for _, x := range g.nodes {
		targets = append(targets, x.target())
	}
	o, err := g.request(t.Context(), true, targets...)
	if err == nil {
		err = o.Err()
	}
	if !errors.Is(err, closed) {
		t.Errorf("the caller got %v", err)
	}
	g.checkIdle()
	if n := g.started(); n > graphSize()/10+1+g.builds.capacity {
		t.Errorf("%d builders ran on a closed store", n-graphSize()/10)
	}
}
