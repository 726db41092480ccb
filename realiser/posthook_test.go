package realiser

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"larder/realiser/builder"
	"larder/realiser/hook"
	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

func withOutput(name string) func(*derivation.Derivation) {
	return func(d *derivation.Derivation) { d.Outputs[name] = derivation.Output{} }
}

// program is an executable script.
func program(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPostBuildHook(t *testing.T) {
	l := newLab(t, func(o *Options) {
		o.PostBuildHook = program(t, `echo "drv $DRV_PATH"; for p in $OUT_PATHS; do echo "out $p"; test -e $LARDER_OBJECT_DIR/${p##*/} || exit 3; done; echo "$NIX_CONFIG"`)
		o.NixConfig = "cores = 3\nfallback = true\n"
	})
	l.sandbox.build = func(_ context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		return &sandbox.Result{}, errors.Join(writeOutput(spec, "out"), writeOutput(spec, "dev"))
	}
	drv, out := l.store.drv(t, "x", nil, withOutput("dev"))
	dev := l.store.drvs[drv].Outputs["dev"].Path
	s := l.Subscribe(1000)
	if res := l.build(t, false, drv)[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	if res := l.build(t, false, drv)[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	s.Close()
	var lines []string
	for ev := range s.Events() {
		if ev.Type == GoalLog {
			lines = append(lines, ev.Line)
		}
	}
	want := []string{"drv /nix/store/" + drv.String()}
	for _, p := range store.SortPaths([]store.StorePath{out, dev}) {
		want = append(want, "out /nix/store/"+p.String())
	}
	if want = append(want, "cores = 3", "fallback = true", ""); !slices.Equal(lines, want) {
		t.Errorf("it said %q\nwant %q", lines, want)
	}
}

// A hook that fails fails the goal, and what is above it, though the outputs are valid. It is not run for what is not built.
func TestPostBuildHookFails(t *testing.T) {
	l := newLab(t, func(o *Options) { o.PostBuildHook = program(t, "echo why; exit 9") })
	drv, out := l.store.drv(t, "x", nil)
	above, _ := l.store.drv(t, "above", []store.StorePath{drv})
	res := l.build(t, false, above)[0]
	var failure *hook.Failure
	if res.Status != result.DependencyFailed || !strings.Contains(res.Err.Error(), "post-build hook of '/nix/store/"+drv.String()+"'") || !errors.As(res.Err, &failure) {
		t.Errorf("%v %v", res.Status, res.Err)
	}
	var said []string
	result.Walk(res.Err, func(err error) {
		if e, ok := err.(*result.BuildError); ok {
			said = append(said, e.LastLines...)
		}
	})
	if !slices.Contains(said, "why") {
		t.Errorf("the error has the lines %q", said)
	}
	if !l.store.isValid(out) || l.sandbox.count("above") != 0 {
		t.Errorf("valid: %v, what is above was built %d times", l.store.isValid(out), l.sandbox.count("above"))
	}
	if res := l.check(t, drv); res.Err != nil {
		t.Errorf("a check: %v", res.Err)
	}
}

func TestPostBuildHookIsKilled(t *testing.T) {
	l := newLab(t, func(o *Options) { o.PostBuildHook = program(t, "echo running; sleep 1000") })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := l.Subscribe(1000)
	defer s.Close()
	drv, _ := l.store.drv(t, "x", nil)
	go func() {
		for ev := range s.Events() {
			if ev.Line == "running" {
				cancel()
			}
		}
	}()
	if _, err := l.Build(ctx, store.Caller{}, Request{Targets: []Target{{Drv: drv}}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	eventually(t, "the goal ended", func() bool { return len(l.Status().Goals) == 0 })
}

// The diff hook is shown both outputs, where they lie, the derivation and the build directory. That it fails only warns.
func TestDiffHook(t *testing.T) {
	l := newLab(t, func(o *Options) {
		o.DiffHook = program(t, `echo "$(cat $1) $(cat $2) $3 $(test -d $4 && echo dir) $PWD"; exit 4`)
	})
	counting(l)
	drv, out := l.store.drv(t, "x", nil)
	if res := l.build(t, false, drv)[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	s := l.Subscribe(1000)
	res := l.check(t, drv)
	s.Close()
	if res.Status != result.NotDeterministic || !strings.Contains(res.Err.Error(), ".check'") {
		t.Errorf("%v %v", res.Status, res.Err)
	}
	var lines []string
	for ev := range s.Events() {
		if ev.Type == GoalMessage && ev.Message.Action == builder.Say {
			lines = append(lines, ev.Message.Text)
		}
	}
	if len(lines) != 2 || lines[0] != "1 2 /nix/store/"+drv.String()+" dir /" || !strings.Contains(lines[1], "warning: diff hook: program") {
		t.Errorf("it said %q", lines)
	}
	if kept := l.kept(t); !slices.Equal(kept, []string{"outputs/" + out.String() + ".check"}) {
		t.Errorf("kept: %v", kept)
	}
}
