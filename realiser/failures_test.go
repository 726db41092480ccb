package realiser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
)

// oneFails makes "bad" fail when all of the others that are wanted run.
func oneFails(l *lab, others *blocker, wait int32) {
	l.sandbox.build = func(ctx context.Context, name string, spec *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
		if name != "bad" {
			return others.build(ctx, name, spec, log)
		}
		for others.running.Load() < wait {
			time.Sleep(time.Millisecond)
		}
		fmt.Fprintln(log, "sorry")
		return exit(3)
	}
}

func TestFailFastCancelsTheRest(t *testing.T) {
	l := newLab(t, nil)
	others := &blocker{release: make(chan struct{})}
	oneFails(l, others, 1)
	bad, _ := l.store.drv(t, "bad", nil)
	slow, _ := l.store.drv(t, "slow", nil)
	top, _ := l.store.drv(t, "top", []store.StorePath{bad, slow})
	res := l.build(t, false, top)[0]
	var e *result.BuildError
	if !errors.As(res.Err, &e) || e.Status != result.DependencyFailed || res.Status != result.DependencyFailed || e.Drv != bad {
		t.Fatalf("result is %+v", res)
	}
	if len(e.LastLines) != 1 || e.LastLines[0] != "sorry" {
		t.Errorf("last lines are %q", e.LastLines)
	}
	eventually(t, "the other builder is gone", func() bool { return others.running.Load() == 0 })
	if l.store.isValid(l.store.drvs[slow].Outputs["out"].Path) {
		t.Error("the cancelled build was registered")
	}
}

func TestKeepGoingFinishesTheRest(t *testing.T) {
	l := newLab(t, nil)
	others := &blocker{release: make(chan struct{})}
	close(others.release)
	oneFails(l, others, 0)
	bad, _ := l.store.drv(t, "bad", nil)
	good, goodOut := l.store.drv(t, "good", nil)
	top, _ := l.store.drv(t, "top", []store.StorePath{bad, good})
	other, _ := l.store.drv(t, "other", nil)
	results := l.build(t, true, top, other, bad)
	for i, want := range []result.Status{result.DependencyFailed, result.Built, result.PermanentFailure} {
		if results[i].Status != want {
			t.Errorf("%v is %v: %v", results[i].Target, results[i].Status, results[i].Err)
		}
	}
	if !l.store.isValid(goodOut) || l.sandbox.count("top") != 0 {
		t.Error("an input was not finished, or its dependent was built")
	}
}

func TestFailFastAmongTargets(t *testing.T) {
	l := newLab(t, nil)
	others := &blocker{release: make(chan struct{})}
	oneFails(l, others, 1)
	bad, _ := l.store.drv(t, "bad", nil)
	slow, _ := l.store.drv(t, "slow", nil)
	results := l.build(t, false, slow, bad)
	if !errors.Is(results[0].Err, errNotTried) || results[1].Status != result.PermanentFailure {
		t.Errorf("results are %+v", results)
	}
	eventually(t, "nothing runs", func() bool { return others.running.Load() == 0 })
}

func TestFailureMemory(t *testing.T) {
	var now atomic.Int64
	l := newLab(t, func(o *Options) {
		o.FailureTTL = 10 * time.Second
		o.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	})
	l.sandbox.build = func(context.Context, string, *sandbox.Spec, io.Writer) (*sandbox.Result, error) { return exit(1) }
	drv, out := l.store.drv(t, "bad", nil)
	expect := func(what string, builds int) {
		t.Helper()
		if n := l.sandbox.count("bad"); n != builds {
			t.Errorf("%s: %d builds, want %d", what, n, builds)
		}
	}
	for range 3 {
		var e *result.BuildError
		if err := l.realise(t.Context(), out); !errors.As(err, &e) || e.Status != result.PermanentFailure || e.Drv != drv {
			t.Fatalf("%v", err)
		}
	}
	expect("accesses in a row", 1)
	l.build(t, false, drv)
	expect("an explicit build", 2)
	now.Add(11)
	l.realise(t.Context(), out)
	expect("an access after a while", 3)
	l.sandbox.build = nil
	if res := l.build(t, false, drv)[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	if e, err := l.Why(t.Context(), out); err != nil || e.State != StateValid {
		t.Errorf("%+v %v", e, err)
	}
}

// A cancelled goal leaves no memory.
func TestCancellationIsNoFailure(t *testing.T) {
	l := newLab(t, func(o *Options) { o.FailureTTL = time.Hour })
	b := &blocker{release: make(chan struct{})}
	l.sandbox.build = b.build
	_, out := l.store.drv(t, "x", nil)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- l.realise(ctx, out) }()
	eventually(t, "it is being built", func() bool { return b.running.Load() == 1 })
	cancel()
	<-first
	close(b.release)
	if err := l.realise(t.Context(), out); err != nil {
		t.Fatal(err)
	}
}
