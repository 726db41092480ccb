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

func TestCounts(t *testing.T) {
	c, bad := newFakeCache("cache", 2), newFakeCache("bad", 1)
	l := withCaches(t, func(o *Options) { o.MaxJobs = 1 }, bad, c)
	l.sandbox.build = func(_ context.Context, name string, s *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		if name == "fails" {
			return exit(1)
		}
		return makeOutputs(s)
	}
	good, _ := l.store.drv(t, "good", nil)
	fails, _ := l.store.drv(t, "fails", nil)
	above, _ := l.store.drv(t, "above", []store.StorePath{fails, good})
	cached, cachedOut := l.store.drv(t, "cached", nil)
	broken, brokenOut := l.store.drv(t, "broken", nil)
	for _, p := range []store.StorePath{cachedOut, brokenOut} {
		bad.add(t, p)
		bad.nars[p] = []byte("this is no NAR")
	}
	c.add(t, cachedOut)
	c.infos[cachedOut].FileSize = 7
	events := l.Subscribe(10000)
	res := l.build(t, true, above, cached, broken)
	for i, want := range []result.Status{result.DependencyFailed, result.Substituted, result.TransientFailure} {
		if res[i].Status != want {
			t.Errorf("%v, want %v: %v", res[i].Status, want, res[i].Err)
		}
	}
	size := int64(c.infos[cachedOut].NarSize)
	want := Counts{Builds: Count{Expected: 2, Done: 1, Failed: 1}, Substitutions: Count{Expected: 2, Done: 1, Failed: 1},
		Bytes: Count{Expected: size, Done: size}, Downloads: Count{Expected: 7, Done: 7}}
	if got := l.Status().Counts; got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	events.Close()
	most := Counts{}
	for ev := range events.Events() {
		if ev.Type != CountsChange {
			continue
		}
		most.Builds.Expected = max(most.Builds.Expected, ev.Counts.Builds.Expected)
		most.Builds.Running = max(most.Builds.Running, ev.Counts.Builds.Running)
		if b := ev.Counts.Builds; b.Running+b.Done+b.Failed > b.Expected || b.Running < 0 {
			t.Errorf("%+v", b)
		}
	}
	if most.Builds.Expected != 3 || most.Builds.Running == 0 {
		t.Errorf("at most %+v: the one above is expected until its dependency fails", most.Builds)
	}
}

// Neither what was cancelled nor what turned out to be here counts as done or failed.
func TestCountsOfWhatDidNotHappen(t *testing.T) {
	l := newLab(t, nil)
	started := make(chan struct{})
	l.sandbox.build = func(ctx context.Context, _ string, _ *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		close(started)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	drv, _ := l.store.drv(t, "x", nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	if _, err := l.Build(ctx, store.Caller{}, Request{Targets: []Target{{Drv: drv}}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	eventually(t, "nothing is expected any more", func() bool { return l.Status().Counts.Builds == Count{} })
}

// Who waits for the locks of outputs holds no slot, and who waits says for what.
func TestWaitingForALockHoldsNoSlot(t *testing.T) {
	l := newLab(t, func(o *Options) { o.MaxJobs = 1 })
	blocked, blockedOut := l.store.drv(t, "blocked", nil)
	free, _ := l.store.drv(t, "free", nil)
	unlock := make(chan struct{})
	l.store.lock = func(ctx context.Context, paths []store.StorePath) error {
		if paths[0] == blockedOut {
			<-unlock
		}
		return ctx.Err()
	}
	done := make(chan []BuildResult)
	go func() { done <- l.build(t, false, blocked) }()
	eventually(t, "it waits for the lock", func() bool {
		for _, g := range l.Status().Goals {
			if g.Phase == PhaseLocked && g.Detail == blockedOut.String() {
				return true
			}
		}
		return false
	})
	if res := l.build(t, false, free)[0]; res.Status != result.Built {
		t.Errorf("%v: %v", res.Status, res.Err)
	}
	close(unlock)
	if res := (<-done)[0]; res.Status != result.Built {
		t.Errorf("%v: %v", res.Status, res.Err)
	}
}
