package realiser

import (
	"context"
	"errors"
	"io"
	"testing"

	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
)

// Who gives up says so about itself. Why a derivation failed that it was resolved to
// stays what everybody else was told.
func TestGivingUpLeavesOthersTheirError(t *testing.T) {
	l := newLab(t, nil)
	l.sandbox.build = func(_ context.Context, name string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		if name == "user" {
			return exit(1)
		}
		return makeOutputs(spec)
	}
	leaf, _ := l.store.drv(t, "leaf", nil, floating)
	user, _ := l.store.drv(t, "user", []store.StorePath{leaf}, floating)
	failed := l.build(t, false, user)[0]
	resolved := failed.Err.(*result.BuildError).Drv
	if resolved == user {
		t.Fatalf("%v is about the derivation that was asked for", failed.Err)
	}
	for range 200 {
		for _, res := range l.build(t, false, user, resolved) {
			if given := errors.Is(res.Err, errNotTried); !given && res.Status != result.PermanentFailure || errors.Is(res.Err, errAbandoned) {
				t.Fatalf("%s: %s: %v", res.Target, res.Status, res.Err)
			}
		}
	}
}

// A closure that can't be repaired is no reason to keep it from garbage collection.
func TestFailedRepairKeepsNothing(t *testing.T) {
	l := newLab(t, nil)
	drvs, outs := l.chain(t)
	l.store.damage(t, outs[0], false)
	l.store.mu.Lock()
	delete(l.store.infos, drvs[0]) // nothing makes it any more
	l.store.mu.Unlock()
	res := l.ask(t, drvs[2], func(q *Request) { q.Mode = ModeRepair })
	if res.Status != result.PermanentFailure {
		t.Fatalf("%v %v", res.Status, res.Err)
	}
	if left := l.store.rooted(); len(left) > 0 {
		t.Errorf("temp roots are left on %v", left)
	}
}
