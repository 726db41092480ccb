package realiser

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

// counting is a builder whose outputs hold how often it ran before.
func counting(l *lab) *atomic.Int64 {
	var runs atomic.Int64
	l.sandbox.build = func(_ context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		text := fmt.Sprint(runs.Add(1))
		return &sandbox.Result{}, os.WriteFile(filepath.Join(spec.BuildStore, filepath.Base(specEnv(spec, "out"))), []byte(text), 0o444)
	}
	return &runs
}

// ask is a request about one derivation.
func (l *lab) ask(t testing.TB, drv store.StorePath, change func(*Request)) BuildResult {
	t.Helper()
	q := Request{Targets: []Target{{Drv: drv}}}
	change(&q)
	o, err := l.Build(t.Context(), store.Caller{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}, q)
	if err != nil {
		t.Fatal(err)
	}
	return o.Results[0]
}

func (l *lab) check(t testing.TB, drv store.StorePath) BuildResult {
	t.Helper()
	return l.ask(t, drv, func(q *Request) { q.Mode = ModeCheck })
}

// kept removes what a failed build kept, so that the lab finds nothing left, after the test has looked at it.
func (l *lab) kept(t testing.TB) []string {
	t.Helper()
	var files []string
	dirs, err := filepath.Glob(filepath.Join(l.scratch, "larder-failed-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				files = append(files, strings.TrimPrefix(p, dir+"/"))
			}
			return err
		})
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// A confirmed output becomes ultimate and is signed.
func TestCheckConfirms(t *testing.T) {
	key, err := store.GenerateKey("test-1", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, func(o *Options) { o.SecretKeys = []store.SecretKey{key} })
	drv, out := l.store.drv(t, "x", nil)
	if res := l.build(t, false, drv)[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	info := l.store.infos[out].Clone()
	info.Ultimate, info.Signatures = false, nil // as if it came from a cache
	l.store.infos[out] = info
	if res := l.check(t, drv); res.Err != nil || res.Status != result.Built || res.Outputs["out"] != out {
		t.Fatalf("%v %v %v", res.Status, res.Outputs, res.Err)
	}
	if info := l.store.infos[out]; !info.Ultimate || len(info.Signatures) != 1 || info.Signatures[0].Name != "test-1" {
		t.Errorf("it is %+v", info)
	}
	if n := l.store.registered(out); n != 1 || l.sandbox.count("x") != 2 {
		t.Errorf("registered %d times, built %d times", n, l.sandbox.count("x"))
	}
}

func TestCheckFindsADifference(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint("keep ", keep), func(t *testing.T) {
			l := newLab(t, func(o *Options) { o.KeepFailed = keep })
			counting(l)
			drv, out := l.store.drv(t, "x", nil)
			if res := l.build(t, false, drv)[0]; res.Err != nil {
				t.Fatal(res.Err)
			}
			was := l.store.infos[out].NarHash
			res := l.check(t, drv)
			if res.Status != result.NotDeterministic {
				t.Fatalf("%v %v", res.Status, res.Err)
			}
			says := res.Err.Error()
			for _, want := range []string{"derivation '/nix/store/" + drv.String() + "' may not be deterministic", "output '/nix/store/" + out.String() + "' differs", was.Text(store.SRI), "now"} {
				if !strings.Contains(says, want) {
					t.Errorf("%q does not say %q", says, want)
				}
			}
			if text, err := os.ReadFile(l.store.ObjectPath(out)); err != nil || string(text) != "1" || l.store.infos[out].NarHash != was {
				t.Errorf("the valid output is %q now, %v", text, err)
			}
			if i := strings.Index(says, ".check'"); keep != (i > 0) {
				t.Errorf("it says %q", says)
			} else if keep {
				name := says[strings.LastIndex(says[:i], "'")+1:][:i+len(".check")-strings.LastIndex(says[:i], "'")-1]
				if text, err := os.ReadFile(name); err != nil || string(text) != "2" {
					t.Errorf("kept as %s: %q, %v", name, text, err)
				}
			}
			if kept := l.kept(t); keep != slices.Equal(kept, []string{"outputs/" + out.String() + ".check"}) {
				t.Errorf("kept: %v", kept)
			}
		})
	}
}

func TestCheckOfInvalidOutputs(t *testing.T) {
	l := newLab(t, nil)
	drv, out := l.store.drv(t, "x", nil)
	if res := l.check(t, drv); res.Err == nil || !strings.Contains(res.Err.Error(), "some outputs of '/nix/store/"+drv.String()+"' are not valid, so checking is not possible") {
		t.Errorf("%v %v", res.Status, res.Err)
	}
	if l.sandbox.count("x") != 0 || l.store.isValid(out) {
		t.Error("it was built")
	}
	if _, err := l.Build(t.Context(), store.Caller{}, Request{Targets: []Target{{Path: out}}, Mode: ModeCheck}); err == nil || !strings.Contains(err.Error(), "is not a derivation") {
		t.Errorf("check of a path: %v", err)
	}
}

// Who wants a path is not served by a check, nor waits for one.
func TestCheckIsNotJoined(t *testing.T) {
	l := newLab(t, nil)
	drv, out := l.store.drv(t, "x", nil)
	if res := l.build(t, false, drv)[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	begun, goOn := make(chan struct{}), make(chan struct{})
	l.sandbox.build = func(_ context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		close(begun)
		<-goOn
		return makeOutputs(spec)
	}
	checked := make(chan BuildResult, 1)
	go func() { checked <- l.check(t, drv) }()
	<-begun
	if err := l.realise(t.Context(), out); err != nil {
		t.Error(err)
	}
	if res := l.build(t, false, drv)[0]; res.Status != result.AlreadyValid {
		t.Errorf("%v %v", res.Status, res.Err)
	}
	close(goOn)
	if res := <-checked; res.Err != nil {
		t.Error(res.Err)
	}
}

func TestRounds(t *testing.T) {
	l := newLab(t, func(o *Options) { o.Repeat = 2 })
	s := l.Subscribe(1000)
	drv, _ := l.store.drv(t, "x", nil)
	if res := l.build(t, false, drv)[0]; res.Err != nil || l.sandbox.count("x") != 3 {
		t.Errorf("%v, %d rounds", res.Err, l.sandbox.count("x"))
	}
	s.Close()
	var rounds []string
	for ev := range s.Events() {
		if ev.Phase == PhaseBuilding {
			rounds = append(rounds, ev.Detail)
		}
	}
	if want := []string{"round 1 of 3", "round 2 of 3", "round 3 of 3"}; !slices.Equal(rounds, want) {
		t.Errorf("shown: %q", rounds)
	}
	more, _ := l.store.drv(t, "more", nil)
	if res := l.ask(t, more, func(q *Request) { q.Rounds = 5 }); res.Err != nil || l.sandbox.count("more") != 5 {
		t.Errorf("%v, %d rounds", res.Err, l.sandbox.count("more"))
	}
	fixed, _ := l.store.drv(t, "fixed", nil, func(d *derivation.Derivation) {
		d.Outputs["out"] = derivation.Output{CA: store.ContentAddress{Method: store.Flat, Hash: store.SHA256.Sum([]byte("fixed\n"))}}
	})
	if res := l.build(t, false, fixed)[0]; res.Err != nil || l.sandbox.count("fixed") != 1 {
		t.Errorf("a fixed output: %v, %d rounds", res.Err, l.sandbox.count("fixed"))
	}
}

func TestRoundsDiffer(t *testing.T) {
	l := newLab(t, func(o *Options) { o.Repeat, o.KeepFailed = 4, true })
	runs := counting(l)
	drv, out := l.store.drv(t, "x", nil)
	res := l.build(t, false, drv)[0]
	if res.Status != result.NotDeterministic || runs.Load() != 2 || l.store.isValid(out) {
		t.Fatalf("%v %v after %d rounds", res.Status, res.Err, runs.Load())
	}
	for _, want := range []string{"output '/nix/store/" + out.String() + "' of '/nix/store/" + drv.String() + "' differs from '", ".check' from previous round", "(round 2 of 5)"} {
		if !strings.Contains(res.Err.Error(), want) {
			t.Errorf("%q does not say %q", res.Err, want)
		}
	}
	if kept := l.kept(t); !slices.Equal(kept, []string{"outputs/" + out.String(), "outputs/" + out.String() + ".check"}) {
		t.Errorf("kept: %v", kept)
	}
}

// Without enforce-determinism a difference is only a warning, and the last round counts.
func TestRoundsMayDiffer(t *testing.T) {
	l := newLab(t, func(o *Options) { o.Repeat, o.AllowNonDeterminism = 4, true })
	runs := counting(l)
	s := l.Subscribe(1000)
	drv, out := l.store.drv(t, "x", nil)
	if res := l.build(t, false, drv)[0]; res.Err != nil || runs.Load() != 2 {
		t.Fatalf("%v after %d rounds", res.Err, runs.Load())
	}
	s.Close()
	warned := false
	for ev := range s.Events() {
		warned = warned || ev.Type == GoalMessage && strings.HasPrefix(ev.Message.Text, "warning: output '/nix/store/"+out.String())
	}
	if text, err := os.ReadFile(l.store.ObjectPath(out)); err != nil || string(text) != "2" || !warned {
		t.Errorf("it is %q, %v; warned: %v", text, err, warned)
	}
}

// Who asks for another output to be checked while a check is under way gets it checked, too.
func TestCheckOfFurtherOutputs(t *testing.T) {
	l := newLab(t, nil)
	both := func(spec *sandbox.Spec) (*sandbox.Result, error) {
		return &sandbox.Result{}, errors.Join(writeOutput(spec, "out"), writeOutput(spec, "dev"))
	}
	l.sandbox.build = func(_ context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		return both(spec)
	}
	drv, out := l.store.drv(t, "x", nil, withOutput("dev"))
	dev := l.store.drvs[drv].Outputs["dev"].Path
	if res := l.build(t, false, drv)[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	for _, p := range []store.StorePath{out, dev} {
		info := l.store.infos[p].Clone()
		info.Ultimate = false
		l.store.infos[p] = info
	}
	var once atomic.Bool
	begun, goOn := make(chan struct{}), make(chan struct{})
	l.sandbox.build = func(_ context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		if once.CompareAndSwap(false, true) {
			close(begun)
			<-goOn
		}
		return both(spec)
	}
	results := make(chan BuildResult, 2)
	ask := func(output string) {
		results <- l.ask(t, drv, func(q *Request) { q.Mode, q.Targets[0].Outputs = ModeCheck, []string{output} })
	}
	go ask("out")
	<-begun
	go ask("dev")
	eventually(t, "the second has joined", func() bool { return l.waiters(key{kind: derivationGoal, path: drv, mode: ModeCheck}) == 2 })
	close(goOn)
	for range 2 {
		if res := <-results; res.Err != nil {
			t.Error(res.Err)
		}
	}
	for _, p := range []store.StorePath{out, dev} {
		if !l.store.infos[p].Ultimate {
			t.Errorf("%s was not checked", p)
		}
	}
}

// waiters is how many wait for a goal.
func (l *lab) waiters(k key) int {
	l.graph.mu.Lock()
	defer l.graph.mu.Unlock()
	if g := l.graph.goals[k]; g != nil {
		return len(g.waiters)
	}
	return 0
}

// A builtin leaves nothing, whatever is asked for: it may know passwords.
func TestBuiltinKeepsNothing(t *testing.T) {
	l := newLab(t, func(o *Options) { o.KeepFailed = true })
	l.sandbox.build = func(context.Context, string, *sandbox.Spec, io.Writer) (*sandbox.Result, error) { return exit(1) }
	drv, _ := l.store.drv(t, "x", nil, func(d *derivation.Derivation) {
		d.Builder, d.System = "builtin:fetchurl", "builtin"
		d.Env["url"], d.Env["out"] = "http://127.0.0.1:1/x", ""
		d.Outputs["out"] = derivation.Output{CA: store.ContentAddress{Method: store.Flat, Hash: store.SHA256.Sum(nil)}}
	})
	res := l.ask(t, drv, func(q *Request) { q.KeepFailed = true })
	var failure *result.BuildError
	if !errors.As(res.Err, &failure) || failure.KeptDir != "" || failure.KeptOutputs != "" || res.Status != result.TransientFailure {
		t.Errorf("%v %+v", res.Status, failure)
	}
	if kept := l.kept(t); len(kept) > 0 {
		t.Errorf("kept: %v", kept)
	}
}
