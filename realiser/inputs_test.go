package realiser

import (
	"strings"
	"testing"

	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
)

// A source that nobody can bring is named together with what needs it.
func TestMissingSourceWithoutSubstitutes(t *testing.T) {
	src, err := store.ParseStorePath("g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-source")
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, func(o *Options) { o.NoSubstitutes = true })
	drv, _ := l.store.drv(t, "x", nil, func(d *derivation.Derivation) { d.InputSrcs = []store.StorePath{src} })
	want := "dependency '" + store.DefaultDir.Join(src) + "' of '" + store.DefaultDir.Join(drv) + "' does not exist, and substitution is disabled"
	if res := l.build(t, false, drv)[0]; res.Status != result.MiscFailure || res.Err.Error() != want {
		t.Errorf("%v %v", res.Status, res.Err)
	}
}

// An output of an input that does not exist is refused before anything runs.
func TestInputWithoutThatOutput(t *testing.T) {
	l := newLab(t, nil)
	below, _ := l.store.drv(t, "below", nil, floating, with("text", "x"))
	above, _ := l.store.drv(t, "above", nil, impure, func(d *derivation.Derivation) { d.InputDrvs[below] = []string{"doc"} })
	res := l.build(t, false, above)[0]
	if res.Status != result.InputRejected || !strings.HasSuffix(res.Err.Error(), "below.drv' does not have an output 'doc'") {
		t.Errorf("%v %v", res.Status, res.Err)
	}
	if n := l.sandbox.count("below"); n != 0 {
		t.Errorf("%d builders ran", n)
	}
}
