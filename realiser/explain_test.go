package realiser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

// why is Why for a path that can be explained.
func (l *lab) why(t *testing.T, p store.StorePath) *Explanation {
	t.Helper()
	e, err := l.Why(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestWhy(t *testing.T) {
	c := newFakeCache("cache", 1)
	l := withCaches(t, func(o *Options) { o.FailureTTL = time.Hour }, c)
	release := make(chan struct{})
	l.sandbox.build = func(_ context.Context, name string, spec *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
		fmt.Fprintln(log, "working on", name)
		<-release
		if name == "in" {
			return exit(1)
		}
		return makeOutputs(spec)
	}
	in, inOut := l.store.drv(t, "in", nil)
	_, out := l.store.drv(t, "top", []store.StorePath{in})

	if e := l.why(t, named(t, "nothing")); e.State != StateUnknown || len(e.Sources) != 1 {
		t.Errorf("unknown: %+v", e)
	}
	c.fail = errors.New("connection refused")
	if e := l.why(t, named(t, "nothing")); e.State != StateFailed || e.Failure != nil || e.Sources[0].Error != "connection refused" {
		t.Errorf("the cache is down: %+v", e)
	}
	c.fail = nil
	cached := named(t, "cached")
	c.add(t, cached)
	if e := l.why(t, cached); e.State != StateRealisable || !e.Sources[0].Has || e.Sources[0].NarSize == 0 {
		t.Errorf("in the cache: %+v", e)
	}
	if e := l.why(t, out); e.State != StateRealisable || len(e.Derivers) != 1 {
		t.Errorf("can be built: %+v", e)
	}

	done := make(chan error, 1)
	go func() { done <- l.realise(t.Context(), out) }()
	var building *Explanation
	eventually(t, "the input is being built", func() bool {
		building = l.why(t, out)
		return slices.ContainsFunc(building.Goals, func(g GoalView) bool {
			return g.Path == in && g.Phase == PhaseBuilding && slices.Equal(g.LastLines, []string{"working on in"})
		})
	})
	if first := building.Goals[0]; building.State != StateRealising || len(building.Goals) != 3 || first.Kind != "path" || first.Phase != PhaseWaiting ||
		len(first.WaitsFor) != 1 || first.Waiters != 1 || first.Caller.PID != 1 || first.Since.IsZero() {
		t.Errorf("realising: %+v", building)
	}
	close(release)
	if err := <-done; err == nil {
		t.Fatal("it did not fail")
	}
	for _, p := range []store.StorePath{out, inOut, in} {
		e := l.why(t, p)
		if p == in {
			if e.State != StateValid {
				t.Errorf("the derivation: %+v", e)
			}
			continue
		}
		if f := e.Failure; e.State != StateFailed || f == nil || f.Drv != in || !slices.Equal(f.LastLines, []string{"working on in"}) || f.LogPath == "" {
			t.Errorf("failed: %+v", e)
		}
	}
}

func TestPlan(t *testing.T) {
	c, down := newFakeCache("cache", 1), newFakeCache("down", 2)
	l := withCaches(t, nil, c, down)
	down.fail = errors.New("down: unreachable")
	leaf, lib, src := named(t, "leaf"), named(t, "lib"), named(t, "src")
	c.add(t, leaf)
	c.add(t, lib, leaf, lib)
	cached, cachedOut := l.store.drv(t, "cached", nil)
	c.add(t, cachedOut, lib)
	built, _ := l.store.drv(t, "built", []store.StorePath{cached})
	valid, validOut := l.store.drv(t, "valid", nil)
	l.store.infos[validOut] = &store.PathInfo{Path: validOut}
	top, topOut := l.store.drv(t, "top", []store.StorePath{built, valid}, func(d *derivation.Derivation) { d.InputSrcs = []store.StorePath{src} })
	for name, target := range map[string]Target{"derivation": {Drv: top}, "output": {Path: topOut}, "one output": {Drv: top, Outputs: []string{"out"}}} {
		p, err := l.Plan(t.Context(), []Target{target, {Path: leaf}})
		if err != nil {
			t.Fatal(err)
		}
		want := &Plan{Build: store.SortPaths([]store.StorePath{top, built}), Substitute: store.SortPaths([]store.StorePath{cachedOut, lib, leaf}),
			Unknown: []store.StorePath{src}, UnpackedSize: c.infos[leaf].NarSize + c.infos[lib].NarSize + c.infos[cachedOut].NarSize,
			Warnings: []string{"down: unreachable"}}
		if fmt.Sprintf("%+v", p) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s: %+v\nwant %+v", name, p, want)
		}
	}
	if l.sandbox.runs != nil || len(c.fetches) > 0 {
		t.Error("something was done")
	}
}

func TestSenselessRequests(t *testing.T) {
	l := newLab(t, nil)
	p := named(t, "x")
	for _, target := range []Target{{}, {Drv: p}, {Path: p, Outputs: []string{"out"}}, {Path: p, Drv: named(t, "x.drv")}} {
		if _, err := l.Build(t.Context(), store.Caller{}, Request{Targets: []Target{target}}); err == nil {
			t.Errorf("built %+v", target)
		}
		if _, err := l.Plan(t.Context(), []Target{target}); err == nil {
			t.Errorf("planned %+v", target)
		}
	}
	if o, err := l.Build(t.Context(), store.Caller{}, Request{}); err != nil || len(o.Results) != 0 || o.Err() != nil {
		t.Errorf("nothing: %v %v", o, err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Store: newFakeStore(t), Sandbox: &fakeSandbox{}, BuildDir: t.TempDir(), LogDir: t.TempDir()}
	for name, change := range map[string]func(*Options){
		"no store":   func(o *Options) { o.Store = nil },
		"no sandbox": func(o *Options) { o.Sandbox = nil },
		"jobs":       func(o *Options) { o.MaxJobs = -2 },
		"build dir":  func(o *Options) { o.BuildDir = "build" },
		"log dir":    func(o *Options) { o.LogDir = "" },
		"timeout":    func(o *Options) { o.Timeout = -1 },
	} {
		o := good
		change(&o)
		if r, err := New(o); err == nil {
			r.Close()
			t.Errorf("%s: no error", name)
		}
	}
	r, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestStatusText(t *testing.T) {
	for s := result.Built; s <= result.NoSubstituters; s++ {
		b, err := s.MarshalText()
		var back result.Status
		if err != nil || back.UnmarshalText(b) != nil || back != s {
			t.Errorf("%d is %s, back %d", s, b, back)
		}
	}
	if new(result.Status).UnmarshalText([]byte("nonsense")) == nil || result.Status(99).String() == "" {
		t.Error("unknown statuses")
	}
}
