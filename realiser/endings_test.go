package realiser

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"larder/nar/tree"
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
	// The goals of the rest of the closure are given up, and may take a moment to end.
	eventually(t, "no temp roots are left", func() bool { return len(l.store.rooted()) == 0 })
}

// The directory of a failed build belongs to who wanted to have it, and not to who
// wanted the build first.
func TestKeptForWhoAsked(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	l := newLab(t, nil)
	joined := make(chan struct{})
	l.store.lock = func(context.Context, []store.StorePath) error {
		<-joined
		return nil
	}
	l.sandbox.build = func(context.Context, string, *sandbox.Spec, io.Writer) (*sandbox.Result, error) { return exit(1) }
	drv, _ := l.store.drv(t, "x", nil)
	ask := func(uid uint32, keep bool, failed chan<- error) {
		o, err := l.Build(t.Context(), store.Caller{UID: uid, GID: uid}, Request{Targets: []Target{{Drv: drv}}, KeepFailed: keep})
		if err == nil {
			err = o.Err()
		}
		failed <- err
	}
	first, second := make(chan error, 1), make(chan error, 1)
	go ask(1, false, first)
	eventually(t, "the build waits", func() bool { return len(l.Status().Goals) == 1 })
	go ask(2, true, second)
	eventually(t, "both wait for it", func() bool { return l.Status().Goals[0].Waiters == 2 })
	close(joined)
	<-first
	var e *result.BuildError
	if err := <-second; !errors.As(err, &e) || e.KeptDir == "" {
		t.Fatalf("nothing was kept: %v", err)
	}
	st, err := os.Stat(e.KeptDir)
	if err != nil {
		t.Fatal(err)
	}
	if uid := st.Sys().(*syscall.Stat_t).Uid; uid != 2 {
		t.Errorf("it belongs to user %d", uid)
	}
	if err := tree.Remove(t.Context(), filepath.Dir(e.KeptDir)); err != nil {
		t.Error(err)
	}
}
