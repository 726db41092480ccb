package realiser

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"

	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

// fakeFailures is a FailureCache in memory.
type fakeFailures struct {
	mu    sync.Mutex // guards known
	known map[store.StorePath]store.Failure
	asked func() // called by Failure, if set
}

func (f *fakeFailures) Failure(_ context.Context, paths ...store.StorePath) (*store.Failure, error) {
	if f.asked != nil {
		f.asked()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range paths {
		if known, ok := f.known[p]; ok {
			return &known, nil
		}
	}
	return nil, nil
}

func (f *fakeFailures) RememberFailures(_ context.Context, list ...store.Failure) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil {
		f.known = map[store.StorePath]store.Failure{}
	}
	for _, one := range list {
		f.known[one.Path] = one
	}
	return nil
}

func fixedOutput(d *derivation.Derivation) {
	d.Outputs = map[string]derivation.Output{"out": {CA: store.ContentAddress{Method: store.Flat, Hash: store.SHA256.Sum([]byte("x"))}}}
}

func TestFailureCache(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*derivation.Derivation)
		build    func(context.Context, string, *sandbox.Spec, io.Writer) (*sandbox.Result, error)
		limit    int64
		status   result.Status
		remember bool
	}{
		{"exit status", nil, func(context.Context, string, *sandbox.Spec, io.Writer) (*sandbox.Result, error) { return exit(1) }, 0, result.PermanentFailure, true},
		{"no output", nil, func(context.Context, string, *sandbox.Spec, io.Writer) (*sandbox.Result, error) { return exit(0) }, 0, result.OutputRejected, true},
		{"fixed output", fixedOutput, func(context.Context, string, *sandbox.Spec, io.Writer) (*sandbox.Result, error) { return exit(1) }, 0, result.TransientFailure, false},
		{"wrong fixed output", fixedOutput, func(_ context.Context, _ string, s *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
			return makeOutputs(s)
		}, 0, result.OutputRejected, false},
		{"not set up", nil, func(context.Context, string, *sandbox.Spec, io.Writer) (*sandbox.Result, error) {
			return nil, &sandbox.SetupError{Stage: sandbox.StageInput, Err: io.ErrUnexpectedEOF}
		}, 0, result.MiscFailure, false},
		{"limit", nil, func(ctx context.Context, _ string, _ *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
			io.WriteString(log, strings.Repeat("x", 1000))
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}, 10, result.LogLimitExceeded, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := &fakeFailures{}
			l := newLab(t, func(o *Options) { o.FailureCache, o.MaxLogSize = cache, c.limit })
			l.sandbox.build = c.build
			change := c.change
			if change == nil {
				change = func(*derivation.Derivation) {}
			}
			drv, out := l.store.drv(t, "fails", nil, change)
			if res := l.build(t, false, drv)[0]; res.Status != c.status {
				t.Fatalf("%v: %v", res.Status, res.Err)
			}
			f, remembered := cache.known[out]
			if remembered != c.remember {
				t.Errorf("remembered: %v", remembered)
			}
			if c.remember && (f.Drv != drv || f.Status != c.status.String() || f.Error == "" || f.Time.IsZero()) {
				t.Errorf("%+v", f)
			}
			res := l.build(t, false, drv)[0]
			want, runs := c.status, 2
			if c.remember {
				want, runs = result.CachedFailure, 1
			}
			if res.Status != want || l.sandbox.count("fails") != runs {
				t.Errorf("again: %v, %d runs: %v", res.Status, l.sandbox.count("fails"), res.Err)
			}
			if c.remember && !strings.Contains(res.Err.Error(), f.Error) {
				t.Errorf("does not say why: %v", res.Err)
			}
		})
	}
}

// A build that is known to fail does not start its inputs, and a substitute is taken all the same.
func TestFailureCacheBeforeInputs(t *testing.T) {
	cache, subst := &fakeFailures{}, newFakeCache("cache", 1)
	l := newLab(t, func(o *Options) { o.FailureCache, o.Substituters = cache, []Substituter{subst} })
	in, _ := l.store.drv(t, "input", nil)
	drv, out := l.store.drv(t, "fails", []store.StorePath{in})
	if err := cache.RememberFailures(t.Context(), store.Failure{Path: out, Drv: drv, Status: "PermanentFailure", Error: "it failed"}); err != nil {
		t.Fatal(err)
	}
	if res := l.build(t, false, drv)[0]; res.Status != result.CachedFailure || l.sandbox.count("input") != 0 {
		t.Errorf("%v, the input was built %d times", res.Status, l.sandbox.count("input"))
	}
	subst.add(t, out)
	if res := l.build(t, false, drv)[0]; res.Status != result.Substituted {
		t.Errorf("%v: %v", res.Status, res.Err)
	}
}

// Another process may fail while this one waits for the locks of the outputs.
func TestFailureCacheIsAskedAgainUnderTheLock(t *testing.T) {
	cache := &fakeFailures{}
	l := newLab(t, func(o *Options) { o.FailureCache = cache })
	drv, out := l.store.drv(t, "fails", nil)
	asked := 0
	cache.asked = func() {
		if asked++; asked == 2 {
			cache.RememberFailures(t.Context(), store.Failure{Path: out, Drv: drv, Status: "PermanentFailure", Error: "another failed"})
		}
	}
	if res := l.build(t, false, drv)[0]; res.Status != result.CachedFailure || l.sandbox.count("fails") != 0 || asked != 2 {
		t.Errorf("%v, built %d times, asked %d times", res.Status, l.sandbox.count("fails"), asked)
	}
}

func TestStatusCountsOnlyOwnFailures(t *testing.T) {
	l := newLab(t, nil)
	l.sandbox.build = func(_ context.Context, name string, s *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		if name == "input" {
			return exit(1)
		}
		return makeOutputs(s)
	}
	in, _ := l.store.drv(t, "input", nil)
	drv, _ := l.store.drv(t, "top", []store.StorePath{in})
	if res := l.build(t, false, drv)[0]; res.Status != result.DependencyFailed {
		t.Errorf("%v", res.Status)
	}
	if c := l.Status().Counts.Builds; c.Failed != 1 || c.Running != 0 {
		t.Errorf("a build whose dependency failed counts as failed: %+v", c)
	}
}

// Who asks for more rounds than the settings do cannot keep others from what one round would give them.
func TestFailureOfRoundsThatWereAskedFor(t *testing.T) {
	cache := &fakeFailures{}
	l := newLab(t, func(o *Options) { o.FailureCache = cache })
	counting(l)
	drv, out := l.store.drv(t, "x", nil)
	if res := l.ask(t, drv, func(q *Request) { q.Rounds = 2 }); res.Status != result.NotDeterministic {
		t.Fatalf("%v %v", res.Status, res.Err)
	}
	if f, remembered := cache.known[out]; remembered {
		t.Errorf("remembered: %+v", f)
	}
	if res := l.build(t, false, drv)[0]; res.Status != result.Built {
		t.Errorf("%v %v", res.Status, res.Err)
	}
}
