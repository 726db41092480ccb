package realiser

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

// asks returns a change that makes a derivation a source of another, which asks
// for its build closure.
func asks(drv store.StorePath) func(*derivation.Derivation) {
	return func(d *derivation.Derivation) {
		d.InputSrcs = []store.StorePath{drv}
		d.Env["exportBuildReferencesGraph"] = "graph " + store.DefaultDir.Join(drv)
	}
}

// What is needed to build a path is realised before a builder is told about it,
// though nothing else needs it.
func TestBuildClosureIsRealisedFirst(t *testing.T) {
	l := newLab(t, nil)
	var graph []byte
	l.sandbox.build = func(_ context.Context, name string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		if name == "x" {
			graph, _ = os.ReadFile(filepath.Join(spec.BuildDir, "graph"))
			for _, m := range spec.Mounts {
				if strings.HasSuffix(m.Target, "-a") || strings.HasSuffix(m.Target, "-b") {
					t.Errorf("the builder sees %s", m.Target)
				}
			}
		}
		return makeOutputs(spec)
	}
	a, outA := l.store.drv(t, "a", nil)
	b, outB := l.store.drv(t, "b", []store.StorePath{a})
	x, _ := l.store.drv(t, "x", nil, asks(b))
	if res := l.build(t, false, x)[0]; res.Status != result.Built {
		t.Fatalf("%v %v", res.Status, res.Err)
	}
	for _, p := range []store.StorePath{a, b, outA, outB} {
		if line := store.DefaultDir.Join(p) + "\n\n"; !strings.Contains(string(graph), line) || !l.store.isValid(p) {
			t.Errorf("%s is not there: %q", p, graph)
		}
	}
}

func TestBuildClosureFails(t *testing.T) {
	l := newLab(t, nil)
	l.sandbox.build = func(_ context.Context, name string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		if name == "a" {
			return exit(1)
		}
		return makeOutputs(spec)
	}
	a, _ := l.store.drv(t, "a", nil)
	x, _ := l.store.drv(t, "x", nil, asks(a))
	if res := l.build(t, false, x)[0]; res.Status != result.DependencyFailed {
		t.Errorf("%v %v", res.Status, res.Err)
	}
	outside, _ := l.store.drv(t, "y", nil, asks(a), func(d *derivation.Derivation) { d.InputSrcs = nil })
	res := l.build(t, false, outside)[0]
	if res.Status != result.InputRejected || !strings.Contains(res.Err.Error(), "it is not in the input closure of the derivation") {
		t.Errorf("%v %v", res.Status, res.Err)
	}
	if n := l.sandbox.count("x") + l.sandbox.count("y"); n != 0 {
		t.Errorf("%d builders ran", n)
	}
}
