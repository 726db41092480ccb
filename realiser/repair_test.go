package realiser

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
)

// damage changes the object of a valid path, or removes it.
func (s *fakeStore) damage(t testing.TB, p store.StorePath, gone bool) {
	t.Helper()
	err := os.RemoveAll(s.ObjectPath(p))
	if err == nil && !gone {
		err = os.WriteFile(s.ObjectPath(p), []byte("damaged"), 0o444)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (l *lab) good(t testing.TB, paths ...store.StorePath) {
	t.Helper()
	for _, p := range paths {
		if err := l.store.CheckContents(t.Context(), p); err != nil {
			t.Error(err)
		}
	}
}

// repair repairs a path.
func (l *lab) repair(t testing.TB, m Mode, p store.StorePath) BuildResult {
	t.Helper()
	o, err := l.Build(t.Context(), store.Caller{}, Request{Targets: []Target{{Path: p}}, Mode: m})
	if err != nil {
		t.Fatal(err)
	}
	return o.Results[0]
}

// chain builds three derivations, each needing the one before.
func (l *lab) chain(t testing.TB) (drvs, outs []store.StorePath) {
	t.Helper()
	var inputs []store.StorePath
	for _, name := range []string{"a", "b", "c"} {
		drv, out := l.store.drv(t, name, inputs)
		drvs, outs, inputs = append(drvs, drv), append(outs, out), []store.StorePath{drv}
	}
	if res := l.build(t, false, drvs[2])[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	return drvs, outs
}

func TestRepairOfADerivation(t *testing.T) {
	for _, gone := range []bool{false, true} {
		l := newLab(t, nil)
		drvs, outs := l.chain(t)
		l.store.damage(t, outs[2], gone)
		if res := l.build(t, false, drvs[2])[0]; res.Status != result.AlreadyValid {
			t.Errorf("not asked to repair: %v %v", res.Status, res.Err)
		}
		res := l.ask(t, drvs[2], func(q *Request) { q.Mode = ModeRepair })
		if res.Err != nil || res.Status != result.Built || res.Outputs["out"] != outs[2] {
			t.Fatalf("%v %v %v", res.Status, res.Outputs, res.Err)
		}
		l.good(t, outs...)
		if l.sandbox.count("a") != 1 || l.sandbox.count("b") != 1 || l.sandbox.count("c") != 2 {
			t.Errorf("built: %v", l.sandbox.runs)
		}
		res = l.ask(t, drvs[2], func(q *Request) { q.Mode = ModeRepair })
		if res.Err != nil || res.Status != result.AlreadyValid || l.sandbox.count("c") != 2 {
			t.Errorf("nothing to repair: %v %v", res.Status, res.Err)
		}
	}
}

// What is content-addressed can't be replaced by other contents, and is not lost over that.
func TestRepairOfAFloatingOutput(t *testing.T) {
	l := newLab(t, nil)
	l.sandbox.build = writeText
	drv, _ := l.store.drv(t, "x", nil, floating, with("text", "one"))
	out := l.build(t, false, drv)[0].Outputs["out"]
	l.store.damage(t, out, false)
	l.sandbox.build = nil // writes something else
	res := l.ask(t, drv, func(q *Request) { q.Mode = ModeRepair })
	if res.Status != result.NotDeterministic || !strings.Contains(res.Err.Error(), "cannot repair '/nix/store/"+out.String()+"'") {
		t.Errorf("other contents: %v %v", res.Status, res.Err)
	}
	l.sandbox.build = writeText
	if res := l.ask(t, drv, func(q *Request) { q.Mode = ModeRepair }); res.Err != nil || res.Outputs["out"] != out {
		t.Errorf("the same contents: %v %v", res.Status, res.Err)
	}
	l.good(t, out)
}

// A repair of a derivation, or of a path, repairs what it refers to. What is damaged is not built from.
func TestRepairOfAClosure(t *testing.T) {
	var log bytes.Buffer
	l := newLab(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	drvs, outs := l.chain(t)
	for i, ask := range []func() BuildResult{
		func() BuildResult { return l.ask(t, drvs[2], func(q *Request) { q.Mode = ModeRepair }) },
		func() BuildResult { return l.repair(t, ModeRepair, outs[2]) },
	} {
		for _, p := range outs {
			l.store.damage(t, p, i == 0)
		}
		built := false
		l.sandbox.build = func(_ context.Context, name string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
			built = true
			for _, m := range spec.Mounts {
				p, err := store.DefaultDir.Parse(m.Target)
				if err != nil {
					t.Error(err)
				}
				l.good(t, p)
			}
			return makeOutputs(spec)
		}
		if res := ask(); res.Err != nil {
			t.Fatal(res.Err)
		}
		l.good(t, outs...)
		if !built {
			t.Error("nothing was built")
		}
		if n := strings.Count(log.String(), "a damaged path was found"); n != len(outs) {
			t.Errorf("%d damaged paths were found %d times:\n%s", len(outs), n, &log)
		}
		log.Reset()
	}
}

func TestRepairOfOnePath(t *testing.T) {
	l := newLab(t, nil)
	_, outs := l.chain(t)
	l.store.damage(t, outs[0], false)
	l.store.damage(t, outs[2], false)
	l.store.damage(t, outs[1], false)
	if res := l.repair(t, ModeRepairPath, outs[0]); res.Err != nil || res.Status != result.Built {
		t.Fatalf("%v %v", res.Status, res.Err)
	}
	l.good(t, outs[0])
	for _, p := range outs[1:] {
		if err := l.store.CheckContents(t.Context(), p); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s was repaired, too: %v", p, err)
		}
	}
	for _, p := range outs[1:] { // for the lab
		if res := l.repair(t, ModeRepairPath, p); res.Err != nil {
			t.Error(res.Err)
		}
	}
}

// What came from a cache comes from one again; a cache that has something else is as good as the first was.
func TestRepairFromACache(t *testing.T) {
	l := newLab(t, nil)
	p := named(t, "p")
	c := newFakeCache("cache", 1)
	c.add(t, p)
	l.sources.all = []Substituter{c}
	if err := l.realise(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	l.store.damage(t, p, false)
	if res := l.repair(t, ModeRepair, p); res.Err != nil || res.Status != result.Substituted {
		t.Fatalf("%v %v", res.Status, res.Err)
	}
	l.good(t, p)
	if fetches := len(c.fetches); fetches != 2 {
		t.Errorf("fetched %d times", fetches)
	}
	if res := l.repair(t, ModeRepair, p); res.Err != nil || res.Status != result.AlreadyValid || len(c.fetches) != 2 {
		t.Errorf("nothing to repair: %v %v", res.Status, res.Err)
	}
}

// What was built here is not replaced by other contents from a cache, but built again.
func TestRepairNeverFromAWorseSource(t *testing.T) {
	l := newLab(t, nil)
	drv, out := l.store.drv(t, "x", nil)
	if res := l.build(t, false, drv)[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	was := l.store.infos[out].NarHash
	c := newFakeCache("cache", 1)
	c.add(t, out) // with other contents
	l.sources.all = []Substituter{c}
	l.store.damage(t, out, false)
	if res := l.repair(t, ModeRepair, out); res.Err != nil || res.Status != result.Built {
		t.Fatalf("%v %v", res.Status, res.Err)
	}
	l.good(t, out)
	if len(c.fetches) != 0 || l.store.infos[out].NarHash != was || l.sandbox.count("x") != 2 {
		t.Errorf("fetched %v, built %d times", c.fetches, l.sandbox.count("x"))
	}
	c.nars[out], c.infos[out].NarHash = nil, was // it claims to have the same, and does not
	l.store.damage(t, out, false)
	if res := l.repair(t, ModeRepair, out); res.Err != nil || res.Status != result.Built {
		t.Errorf("%v %v", res.Status, res.Err)
	}
	l.good(t, out)
}

func TestRepairFails(t *testing.T) {
	l := newLab(t, nil)
	p := named(t, "p")
	c := newFakeCache("cache", 1)
	c.add(t, p)
	l.sources.all = []Substituter{c}
	if err := l.realise(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	l.sources.all = nil
	l.store.damage(t, p, false)
	res := l.repair(t, ModeRepair, p)
	if res.Err == nil || !strings.Contains(res.Err.Error(), "cannot repair path '/nix/store/"+p.String()+"'") || res.Status != result.NoSubstituters {
		t.Errorf("%v %v", res.Status, res.Err)
	}
	if text, err := os.ReadFile(l.store.ObjectPath(p)); err != nil || string(text) != "damaged" {
		t.Errorf("the object is %q, %v", text, err)
	}
	if l.contents.good != nil || l.contents.users != 0 {
		t.Error("contents are remembered beyond the repair")
	}
}

// The damaged outputs of a derivation are replaced and the good ones left alone.
func TestRepairOfSomeOutputs(t *testing.T) {
	l := newLab(t, nil)
	drv, out := l.store.drv(t, "x", nil, withOutput("dev"))
	dev := l.store.drvs[drv].Outputs["dev"].Path
	l.sandbox.build = func(_ context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		return &sandbox.Result{}, errors.Join(writeOutput(spec, "out"), writeOutput(spec, "dev"))
	}
	if res := l.build(t, false, drv)[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	l.store.damage(t, dev, true)
	if res := l.ask(t, drv, func(q *Request) { q.Mode = ModeRepair }); res.Err != nil {
		t.Fatal(res.Err)
	}
	l.good(t, out, dev)
	if got := []int{l.store.registered(out), l.store.registered(dev)}; !slices.Equal(got, []int{1, 2}) {
		t.Errorf("out and dev were put in place %v times", got)
	}
}
