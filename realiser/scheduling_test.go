package realiser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

func TestHundredCallersOneBuild(t *testing.T) {
	l := newLab(t, nil)
	release := make(chan struct{})
	l.sandbox.build = func(_ context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		<-release
		return makeOutputs(spec)
	}
	drv, out := l.store.drv(t, "hello", nil)
	errs := make(chan error, 100)
	for i := range 100 {
		go func() {
			if i%2 == 0 {
				errs <- l.realise(t.Context(), out)
				return
			}
			o, err := l.Build(t.Context(), store.Caller{}, Request{Targets: []Target{{Drv: drv}}})
			errs <- errors.Join(err, o.Err())
		}()
	}
	eventually(t, "all wait", func() bool {
		waiters := 0
		for _, g := range l.Status().Goals {
			waiters += g.Waiters
		}
		return waiters == 101 // the path's goal is a waiter too
	})
	close(release)
	for range 100 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	if n := l.sandbox.count("hello"); n != 1 {
		t.Errorf("built %d times", n)
	}
}

// randomGraph makes n derivations, each with a few of the earlier ones as inputs.
func randomGraph(t *testing.T, s *fakeStore, n int) (drvs []store.StorePath) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range n {
		var inputs []store.StorePath
		for range rng.IntN(4) {
			if i > 0 {
				inputs = append(inputs, drvs[max(0, i-1-rng.IntN(40))])
			}
		}
		drv, _ := s.drv(t, fmt.Sprintf("d%d", i), inputs)
		drvs = append(drvs, drv)
	}
	return drvs
}

// blocker is a builder that says when it runs and goes on until it is released
// or cancelled.
type blocker struct {
	running atomic.Int32
	release chan struct{}
}

func (b *blocker) build(ctx context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
	b.running.Add(1)
	defer b.running.Add(-1)
	select {
	case <-b.release:
		return makeOutputs(spec)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func TestLastWaiterLeavingCancels(t *testing.T) {
	l := newLab(t, nil)
	b := &blocker{release: make(chan struct{})}
	l.sandbox.build = b.build
	in1, _ := l.store.drv(t, "in1", nil)
	in2, _ := l.store.drv(t, "in2", nil)
	_, out := l.store.drv(t, "top", []store.StorePath{in1, in2})
	type waiter struct {
		cancel context.CancelFunc
		err    chan error
	}
	var waiters []waiter
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		w := waiter{cancel, make(chan error, 1)}
		go func() { w.err <- l.realise(ctx, out) }()
		waiters = append(waiters, w)
	}
	eventually(t, "all wait and both inputs are being built", func() bool {
		for _, g := range l.Status().Goals {
			if g.Kind == "path" && g.Waiters != 3 {
				return false
			}
		}
		return b.running.Load() == 2
	})
	for i, w := range waiters {
		if n := b.running.Load(); n != 2 {
			t.Fatalf("%d builders run although somebody waits", n)
		}
		w.cancel()
		if err := <-w.err; !errors.Is(err, context.Canceled) {
			t.Fatalf("waiter %d: %v", i, err)
		}
	}
	eventually(t, "nothing runs", func() bool { return b.running.Load() == 0 && len(l.Status().Goals) == 0 })
	close(b.release)
	if err := l.realise(t.Context(), out); err != nil {
		t.Errorf("a caller after a cancelled goal: %v", err)
	}
}

func TestGraceOutlivesTheLastWaiter(t *testing.T) {
	l := newLab(t, func(o *Options) { o.Grace = time.Hour })
	b := &blocker{release: make(chan struct{})}
	l.sandbox.build = b.build
	_, out := l.store.drv(t, "x", nil)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- l.realise(ctx, out) }()
	eventually(t, "it is being built", func() bool { return b.running.Load() == 1 })
	cancel()
	<-first
	second := make(chan error, 1)
	go func() { second <- l.realise(t.Context(), out) }()
	eventually(t, "the second caller has joined", func() bool {
		for _, g := range l.Status().Goals {
			if g.Kind == "path" && g.Waiters == 1 {
				return true
			}
		}
		return false
	})
	close(b.release)
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	if n := l.sandbox.count("x"); n != 1 {
		t.Errorf("built %d times", n)
	}
}

// A caller that comes while a goal is dying gets a new one, which begins when
// the old one is gone.
func TestCallerDuringDeath(t *testing.T) {
	l := newLab(t, nil)
	started, mayDie := make(chan struct{}, 2), make(chan struct{})
	var atOnce, runs atomic.Int32
	l.sandbox.build = func(ctx context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		if atOnce.Add(1) > 1 {
			t.Error("two builds of one derivation at once")
		}
		defer atOnce.Add(-1)
		started <- struct{}{}
		if runs.Add(1) > 1 {
			return makeOutputs(spec)
		}
		<-ctx.Done()
		<-mayDie
		return nil, context.Cause(ctx)
	}
	drv, out := l.store.drv(t, "x", nil)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- l.realise(ctx, out) }()
	<-started
	cancel()
	<-first
	eventually(t, "the first goal is dying", func() bool { return len(l.Status().Goals) == 0 })
	second := make(chan error, 1)
	go func() {
		o, err := l.Build(t.Context(), store.Caller{}, Request{Targets: []Target{{Drv: drv}}})
		second <- errors.Join(err, o.Err())
	}()
	eventually(t, "the second goal exists", func() bool { return len(l.Status().Goals) == 1 })
	close(mayDie)
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	if runs.Load() != 2 {
		t.Errorf("%d builds, expected a cancelled and a good one", runs.Load())
	}
}

// While a slot is busy, an access that comes last goes first.
func TestAccessesGoFirst(t *testing.T) {
	l := newLab(t, func(o *Options) { o.MaxJobs = 1 })
	var mu sync.Mutex
	var order []string
	release := make(chan struct{})
	l.sandbox.build = func(_ context.Context, name string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		mu.Lock()
		order = append(order, name)
		mu.Unlock()
		if name == "first" {
			<-release
		}
		return makeOutputs(spec)
	}
	queued := func(n int) func() bool { return func() bool { return l.Status().Builds.Queued == n } }
	first, _ := l.store.drv(t, "first", nil)
	var group sync.WaitGroup
	group.Go(func() { l.build(t, false, first) })
	eventually(t, "the slot is taken", func() bool { return l.sandbox.count("first") == 1 })
	var batch []store.StorePath
	for _, name := range []string{"c", "a", "b"} {
		drv, _ := l.store.drv(t, name, nil)
		batch = append(batch, drv)
	}
	group.Go(func() { l.build(t, false, batch...) })
	eventually(t, "the batch is queued", queued(3))
	_, urgent := l.store.drv(t, "urgent", nil)
	group.Go(func() { l.realise(t.Context(), urgent) })
	eventually(t, "the access is queued", queued(4))
	// An access to what the batch has queued moves it forward.
	group.Go(func() { l.realise(t.Context(), l.store.drvs[batch[0]].Outputs["out"].Path) })
	eventually(t, "the second access has joined", func() bool {
		for _, g := range l.Status().Goals {
			if g.Path == batch[0] && g.Waiters == 2 {
				return true
			}
		}
		return false
	})
	close(release)
	group.Wait()
	if got := fmt.Sprint(order); got != "[first c urgent a b]" {
		t.Errorf("order of builds is %s", got)
	}
}

// Who wants another output of a derivation that is under way joins its goal.
func TestJoinForAnotherOutput(t *testing.T) {
	l := newLab(t, nil)
	b := &blocker{release: make(chan struct{})}
	l.sandbox.build = func(ctx context.Context, name string, spec *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
		if _, err := b.build(ctx, name, spec, log); err != nil {
			return nil, err
		}
		return &sandbox.Result{}, writeOutput(spec, "dev")
	}
	drv, _ := l.store.drv(t, "multi", nil, func(d *derivation.Derivation) { d.Outputs["dev"] = derivation.Output{} })
	results := make(chan BuildResult, 3)
	want := func(outputs ...string) {
		o, err := l.Build(t.Context(), store.Caller{}, Request{Targets: []Target{{Drv: drv, Outputs: outputs}}})
		if err != nil {
			t.Error(err)
			o = &Outcome{Results: []BuildResult{{}}}
		}
		results <- o.Results[0]
	}
	go want("out")
	eventually(t, "it is being built", func() bool { return b.running.Load() == 1 })
	go want("dev")
	go want("nonsense")
	eventually(t, "the others have joined", func() bool {
		goals := l.Status().Goals
		return len(goals) == 1 && goals[0].Waiters == 3
	})
	close(b.release)
	for range 3 {
		r := <-results
		if r.Target.Outputs[0] == "nonsense" {
			if r.Err == nil {
				t.Error("an output that does not exist was realised")
			}
		} else if r.Err != nil || r.Status != result.Built || len(r.Outputs) != 1 || r.Outputs[r.Target.Outputs[0]].IsZero() {
			t.Errorf("%v: %+v", r.Target, r)
		}
	}
	if n := l.sandbox.count("multi"); n != 1 {
		t.Errorf("built %d times", n)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	l := newLab(t, nil)
	b := &blocker{release: make(chan struct{})}
	l.sandbox.build = b.build
	_, out := l.store.drv(t, "x", nil)
	err := make(chan error, 1)
	go func() { err <- l.realise(t.Context(), out) }()
	eventually(t, "it is being built", func() bool { return b.running.Load() == 1 })
	l.Close()
	if e := <-err; !errors.Is(e, ErrClosed) {
		t.Errorf("the waiter got %v", e)
	}
	if e := l.realise(t.Context(), out); !errors.Is(e, ErrClosed) {
		t.Errorf("a late caller got %v", e)
	}
	if b.running.Load() != 0 {
		t.Error("the builder still runs")
	}
}

// Callers come and go at random on a graph; in the end everything can be built,
// and nothing is left.
func TestComingAndGoing(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(o *Options) { o.MaxJobs = 2 })
	drvs := randomGraph(t, l.store, 60)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			for range 40 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(3000))*time.Microsecond)
				out := l.store.drvs[drvs[rng.IntN(len(drvs))]].Outputs["out"].Path
				if err := l.realise(ctx, out); err != nil && ctx.Err() == nil {
					t.Errorf("%v", err)
				}
				cancel()
			}
		})
	}
	group.Wait()
	for _, r := range l.build(t, false, drvs...) {
		if r.Err != nil {
			t.Error(r.Err)
		}
		for _, p := range r.Outputs {
			if n := l.store.registered(p); n != 1 {
				t.Errorf("%s was registered %d times", p, n)
			}
		}
	}
}
