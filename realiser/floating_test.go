package realiser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

// floating makes outputs content-addressed.
func floating(d *derivation.Derivation) {
	for name := range d.Outputs {
		d.Outputs[name] = derivation.Output{HashAlgo: store.SHA256, Method: store.Recursive}
	}
}

func impure(d *derivation.Derivation) {
	d.Outputs["out"] = derivation.Output{HashAlgo: store.SHA256, Method: store.Recursive, Impure: true}
}

// with sets a variable of the environment.
func with(name, value string) func(*derivation.Derivation) {
	return func(d *derivation.Derivation) { d.Env[name] = value }
}

// uses puts the placeholders of inputs into the environment.
func uses(inputs ...store.StorePath) func(*derivation.Derivation) {
	return func(d *derivation.Derivation) {
		for _, in := range inputs {
			d.Env["inputs"] += derivation.UpstreamPlaceholder(in, "out") + " "
		}
	}
}

// writeText is a builder that makes out of the variable text.
func writeText(_ context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
	return &sandbox.Result{}, os.WriteFile(filepath.Join(spec.BuildStore, filepath.Base(specEnv(spec, "out"))), []byte(specEnv(spec, "text")), 0o444)
}

// A change of an input that does not change what the input makes rebuilds nothing
// above it: not now, and not after a restart.
func TestEarlyCutOff(t *testing.T) {
	l := newLab(t, nil)
	l.sandbox.build = func(ctx context.Context, name string, spec *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
		if strings.Contains(specEnv(spec, "inputs"), "/1") {
			t.Errorf("%s sees a placeholder: %s", name, specEnv(spec, "inputs"))
		}
		return writeText(ctx, name, spec, log)
	}
	var roots []store.StorePath
	for _, comment := range []string{"one", "two", "three"} {
		below, _ := l.store.drv(t, "below", nil, floating, with("text", "same"), with("comment", comment))
		middle, _ := l.store.drv(t, "middle", []store.StorePath{below}, floating, with("text", "middle"), uses(below))
		deferred, _ := l.store.drv(t, "deferred", []store.StorePath{middle}, with("text", "deferred"), uses(middle))
		above, _ := l.store.drv(t, "above", []store.StorePath{deferred}, floating, with("text", "above"), uses(deferred))
		roots = append(roots, above)
	}
	first := l.build(t, false, roots[0])[0]
	if first.Status != result.Built {
		t.Fatalf("%v %v", first.Status, first.Err)
	}
	second := l.build(t, false, roots[1])[0]
	if second.Status != result.ResolvesToAlreadyValid || second.Outputs["out"] != first.Outputs["out"] {
		t.Errorf("%v %v: %s, was %s", second.Status, second.Err, second.Outputs["out"], first.Outputs["out"])
	}
	l.Close()
	restarted, err := New(Options{Store: l.store, Sandbox: l.sandbox, BuildDir: t.TempDir(), LogDir: t.TempDir(), System: "x86_64-linux", Grace: -1, FailureTTL: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer restarted.Close()
	for i, want := range []result.Status{result.AlreadyValid, result.AlreadyValid, result.ResolvesToAlreadyValid} {
		o, err := restarted.Build(t.Context(), store.Caller{}, Request{Targets: []Target{{Drv: roots[i]}}})
		if err != nil {
			t.Fatal(err)
		}
		if res := o.Results[0]; res.Status != want || res.Outputs["out"] != first.Outputs["out"] {
			t.Errorf("after a restart, %d: %v %v", i, res.Status, res.Err)
		}
	}
	for name, want := range map[string]int{"below": 3, "middle": 1, "deferred": 1, "above": 1} {
		if n := l.sandbox.count(name); n != want {
			t.Errorf("%s was built %d times, not %d", name, n, want)
		}
	}
}

// Impure derivations run each time they are asked for, once for all who ask at the
// same time, and nothing remembers what they made.
func TestImpureRunsEachTime(t *testing.T) {
	l := newLab(t, nil)
	var mu sync.Mutex
	runs := 0
	l.sandbox.build = func(_ context.Context, name string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		runs++
		if !spec.Network {
			t.Error("no network")
		}
		return &sandbox.Result{}, os.WriteFile(filepath.Join(spec.BuildStore, filepath.Base(specEnv(spec, "out"))), fmt.Append(nil, runs), 0o444)
	}
	drv, _ := l.store.drv(t, "now", nil, impure)
	above, _ := l.store.drv(t, "above", []store.StorePath{drv}, impure, uses(drv))
	one, two := l.build(t, false, drv)[0], l.build(t, false, drv)[0]
	if one.Status != result.Built || two.Status != result.Built || one.Outputs["out"] == two.Outputs["out"] {
		t.Errorf("%v %v and %v %v", one.Status, one.Outputs, two.Status, two.Outputs)
	}
	both := l.build(t, false, drv, above, drv)
	if both[0].Outputs["out"] != both[2].Outputs["out"] || both[1].Status != result.Built || runs != 4 {
		t.Errorf("%d runs: %v", runs, both)
	}
	if len(l.store.realisations) > 0 {
		t.Errorf("remembered: %v", l.store.realisations)
	}
	l.sandbox.build = func(context.Context, string, *sandbox.Spec, io.Writer) (*sandbox.Result, error) { return exit(1) }
	if res := l.build(t, false, drv)[0]; res.Status != result.TransientFailure {
		t.Errorf("a failure is %v %v", res.Status, res.Err)
	}
}

func TestPureOnImpureIsRefused(t *testing.T) {
	l := newLab(t, nil)
	drv, _ := l.store.drv(t, "now", nil, impure)
	for _, change := range []func(*derivation.Derivation){floating, func(*derivation.Derivation) {}} {
		above, _ := l.store.drv(t, "above", []store.StorePath{drv}, change, uses(drv))
		want := fmt.Sprintf("pure derivation '%s' depends on impure derivation '%s'", store.DefaultDir.Join(above), store.DefaultDir.Join(drv))
		if res := l.build(t, false, above)[0]; res.Status != result.InputRejected || res.Err.Error() != want {
			t.Errorf("%v %v", res.Status, res.Err)
		}
	}
	if n := l.sandbox.count("now"); n != 0 {
		t.Errorf("%d builders ran", n)
	}
}

// What fails is the resolved derivation, which has the log.
func TestResolvedFailure(t *testing.T) {
	l := newLab(t, nil)
	below, _ := l.store.drv(t, "below", nil, floating, with("text", "x"))
	above, _ := l.store.drv(t, "above", []store.StorePath{below}, floating, uses(below))
	l.sandbox.build = func(ctx context.Context, name string, spec *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
		if name == "below" {
			return writeText(ctx, name, spec, log)
		}
		io.WriteString(log, "the reason\n")
		return exit(1)
	}
	res := l.build(t, false, above)[0]
	e, ok := res.Err.(*result.BuildError)
	if !ok || res.Status != result.PermanentFailure || e.Drv == above || e.Drv.Name() != "above.drv" || len(e.LastLines) != 1 {
		t.Fatalf("%v %+v", res.Status, res.Err)
	}
	log, err := l.ReadLog(t.Context(), e.Drv)
	if err != nil {
		t.Fatal(err)
	}
	log.Close()
}

// Garbage collection at any moment takes nothing that is in use, although nobody
// could know the paths before they were made.
func TestUnknownOutputsAreKept(t *testing.T) {
	l := newLab(t, nil)
	l.store.eager = true
	l.sandbox.build = writeText
	below, _ := l.store.drv(t, "below", nil, floating, with("text", "x"))
	middle, _ := l.store.drv(t, "middle", []store.StorePath{below}, floating, with("text", "y"), uses(below))
	above, _ := l.store.drv(t, "above", []store.StorePath{middle, below}, with("text", "z"), uses(middle, below))
	for range 2 {
		res := l.build(t, false, above)[0]
		if res.Status != result.Built {
			t.Fatalf("%v %v", res.Status, res.Err)
		}
		eventually(t, "nobody uses the output any more", func() bool { return !l.store.isValid(res.Outputs["out"]) })
	}
	if n := l.sandbox.count("below"); n != 2 {
		t.Errorf("garbage collection is not tested: %d builds", n)
	}
}

// Nix shows the place where it builds a floating output when it refuses what is
// there: the case ca-flat-dir of the fixtures.
func TestScratchPathIsThatOfNix(t *testing.T) {
	drv, err := store.ParseStorePath("dpyndlkr9i2q66n5i9fvzxh8dplcnmfl-ca-flat-dir.drv")
	if err != nil {
		t.Fatal(err)
	}
	d := &drvRun{Realiser: &Realiser{dir: store.DefaultDir}, path: drv, drv: &derivation.Derivation{Name: "ca-flat-dir"}}
	if p, err := d.scratchPath("out"); err != nil || p.String() != "6xz9xpx85y24grwbr3q7vdsyig0dqlvf-ca-flat-dir" {
		t.Errorf("%s %v", p, err)
	}
}

// Outputs whose paths are not known are locked by what their realisations are
// recorded under; who gets the locks looks again what is there.
func TestLocksOfUnknownOutputs(t *testing.T) {
	l := newLab(t, nil)
	two := func(d *derivation.Derivation) {
		d.Outputs["lib"] = derivation.Output{}
		floating(d)
	}
	drv, _ := l.store.drv(t, "x", nil, two)
	other, _ := l.store.drv(t, "x", nil, two, with("other", "1"))
	now, _ := l.store.drv(t, "now", nil, impure)
	locked := map[store.StorePath]int{}
	l.store.lock = func(_ context.Context, paths []store.StorePath) error {
		for _, p := range paths {
			locked[p]++
		}
		return nil
	}
	l.sandbox.build = func(_ context.Context, name string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		err := writeOutput(spec, "out")
		if name == "x" {
			err = errors.Join(err, writeOutput(spec, "lib"))
		}
		return &sandbox.Result{}, err
	}
	for i, d := range []store.StorePath{drv, other, now} {
		if res := l.build(t, false, d)[0]; res.Status != result.Built {
			t.Fatalf("%v %v", res.Status, res.Err)
		}
		if want := min(2*(i+1), 4); len(locked) != want {
			t.Errorf("%d locks, want %d: %v", len(locked), want, locked)
		}
	}

	late, _ := l.store.drv(t, "late", nil, floating, with("text", "x"))
	made := l.build(t, false, drv)[0].Outputs["out"]
	ids, err := l.store.hasher.DrvOutputs(t.Context(), l.store.drvs[late])
	if err != nil {
		t.Fatal(err)
	}
	l.store.lock = func(ctx context.Context, _ []store.StorePath) error {
		return l.store.RegisterRealisation(ctx, &store.Realisation{ID: ids["out"], OutPath: made})
	}
	if res := l.build(t, false, late)[0]; res.Status != result.AlreadyValid || res.Outputs["out"] != made || l.sandbox.count("late") != 0 {
		t.Errorf("somebody was faster: %v %v %v", res.Status, res.Err, res.Outputs)
	}
}

// An output that is here stays what it is when another one has to be made, and the
// builder makes both, differently.
func TestOtherOutputsStay(t *testing.T) {
	l := newLab(t, nil)
	runs := 0
	l.sandbox.build = func(ctx context.Context, name string, spec *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
		if name == "below" {
			return writeText(ctx, name, spec, log)
		}
		runs++
		for _, output := range []string{"out", "lib"} {
			path := filepath.Join(spec.BuildStore, filepath.Base(specEnv(spec, output)))
			if err := os.WriteFile(path, fmt.Append(nil, output, runs, specEnv(spec, "inputs")), 0o444); err != nil {
				return nil, err
			}
		}
		return &sandbox.Result{}, nil
	}
	two := func(d *derivation.Derivation) {
		d.Outputs["lib"] = derivation.Output{}
		floating(d)
	}
	below, _ := l.store.drv(t, "below", nil, floating, with("text", "x"))
	drv, _ := l.store.drv(t, "x", []store.StorePath{below}, two, uses(below))
	first := l.build(t, false, drv)[0]
	if first.Status != result.Built {
		t.Fatal(first.Err)
	}
	l.store.mu.Lock()
	l.store.collect(first.Outputs["lib"])
	for id, r := range l.store.realisations { // nor is it known what the resolved derivation made, which has no inputs
		if id.Output == "out" && r.OutPath == first.Outputs["out"] && len(r.Dependencies) == 0 {
			delete(l.store.realisations, id)
		}
	}
	l.store.mu.Unlock()
	o, err := l.Build(t.Context(), store.Caller{}, Request{Targets: []Target{{Drv: drv, Outputs: []string{"lib"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if res := o.Results[0]; res.Status != result.Built || res.Outputs["lib"] == first.Outputs["lib"] || runs != 2 {
		t.Errorf("%v %v %v", res.Status, res.Err, res.Outputs)
	}
	if res := l.build(t, false, drv)[0]; res.Status != result.AlreadyValid || res.Outputs["out"] != first.Outputs["out"] {
		t.Errorf("%v %v %v, first it was %v", res.Status, res.Err, res.Outputs, first.Outputs)
	}
}
