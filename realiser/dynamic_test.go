package realiser_test

import (
	"os"
	"strings"
	"testing"

	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
	"larder/store/local"
)

// maker registers a derivation that makes the derivation inner.
func maker(t *testing.T, s *local.Store, inner *derivation.Derivation) store.StorePath {
	t.Helper()
	text, err := s.AddText(t.Context(), "text", inner.ATerm(store.DefaultDir), inner.References())
	if err != nil {
		t.Fatal(err)
	}
	src := store.DefaultDir.Join(text)
	return addDrv(t, s, &derivation.Derivation{Name: inner.Name + ".drv", System: "x86_64-linux", Builder: "/bin/sh", Args: []string{"-ec", "cat " + src + " > $out"},
		Outputs:   map[string]derivation.Output{"out": {HashAlgo: store.SHA256, Method: store.Text}},
		InputSrcs: []store.StorePath{text}})
}

// hello makes two outputs.
func hello(t *testing.T, s *local.Store) *derivation.Derivation {
	t.Helper()
	drv := &derivation.Derivation{Name: "hello", System: "x86_64-linux", Builder: "/bin/sh", Args: []string{"-ec", "echo hello > $out; echo dev > $dev"},
		Outputs: map[string]derivation.Output{"out": {}, "dev": {}}}
	if err := derivation.NewHasher(store.DefaultDir, s.Derivation).Fill(t.Context(), drv); err != nil {
		t.Fatal(err)
	}
	return drv
}

// TestDynamicDerivations builds derivations that other derivations make.
func TestDynamicDerivations(t *testing.T) {
	box := realSandbox(t)
	s := openStore(t)
	r := open(t, s, box, nil)
	inner := hello(t, s)
	makes := maker(t, s, inner)
	want := inner.Outputs["out"].Path

	res := build(t, r, realiser.Target{Drv: makes, Through: []string{"out"}, Outputs: []string{"out"}}, realiser.Target{Drv: makes})
	if res[0].Status != result.Built || len(res[0].Outputs) != 1 || res[0].Outputs["out"] != want {
		t.Fatalf("%v %v %v", res[0].Status, res[0].Err, res[0].Outputs)
	}
	if p, err := inner.Path(store.DefaultDir); err != nil || res[1].Outputs["out"] != p {
		t.Errorf("the derivation is %v, want %s, %v", res[1].Outputs, p, err)
	}

	// A derivation that uses an output of one that is made, which nobody has built.
	text := "echo dev-"
	other := hello(t, s)
	other.Args[1] = strings.Replace(other.Args[1], "echo dev", text+"other", 1)
	for name := range other.Outputs {
		other.Outputs[name], other.Env[name] = derivation.Output{}, ""
	}
	if err := derivation.NewHasher(store.DefaultDir, s.Derivation).Fill(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	makesOther := maker(t, s, other)
	placeholder := derivation.UpstreamPlaceholder(makesOther, "out", "dev")
	user := addDrv(t, s, &derivation.Derivation{Name: "user", System: "x86_64-linux", Builder: "/bin/sh",
		Args: []string{"-ec", "cat " + placeholder + " > $out"}, Outputs: map[string]derivation.Output{"out": {}},
		InputDrvs: map[store.StorePath][]string{makesOther: {}},
		DynamicInputs: map[store.StorePath]map[string]derivation.Use{
			makesOther: {"out": {Outputs: []string{"dev"}}},
		}})
	plan, err := r.Plan(t.Context(), []realiser.Target{{Drv: user}})
	if err != nil || len(plan.Build) != 2 {
		t.Errorf("plan: %+v %v", plan, err)
	}
	used := build(t, r, realiser.Target{Drv: user})[0]
	if used.Status != result.Built {
		t.Fatalf("%v %v", used.Status, used.Err)
	}
	if got, err := os.ReadFile(s.ObjectPath(used.Outputs["out"])); err != nil || string(got) != "dev-other\n" {
		t.Errorf("%q %v", got, err)
	}
	if res := build(t, r, realiser.Target{Drv: user})[0]; res.Status != result.AlreadyValid {
		t.Errorf("again: %v %v", res.Status, res.Err)
	}

	for _, c := range []struct {
		target realiser.Target
		says   string
	}{
		{realiser.Target{Drv: makes, Through: []string{"out"}, Outputs: []string{"lib"}}, "hello.drv' does not have an output 'lib'"},
		{realiser.Target{Drv: makes, Through: []string{"doc"}}, "hello.drv.drv' does not have an output 'doc'"},
		{realiser.Target{Drv: makes, Through: []string{"out", "out"}}, "hello.drv' is not a derivation: it is"},
		{realiser.Target{Drv: user, Through: []string{"out"}}, "user.drv' is not a derivation: it is"},
	} {
		if res := build(t, r, c.target)[0]; res.Err == nil || !strings.Contains(res.Err.Error(), c.says) {
			t.Errorf("%s: %v %v, want …%s…", c.target, res.Status, res.Err, c.says)
		}
	}
}

// What is made and is no derivation is refused before anything else sees it.
func TestNoDerivationUnderItsName(t *testing.T) {
	box := realSandbox(t)
	s := openStore(t)
	r := open(t, s, box, nil)
	drv := addDrv(t, s, &derivation.Derivation{Name: "bad.drv", System: "x86_64-linux", Builder: "/bin/sh", Args: []string{"-ec", "echo nonsense > $out"},
		Outputs: map[string]derivation.Output{"out": {HashAlgo: store.SHA256, Method: store.Text}}})
	res := build(t, r, realiser.Target{Drv: drv, Through: []string{"out"}})[0]
	if res.Err == nil || !strings.Contains(res.Err.Error(), `expected "Derive("`) {
		t.Errorf("%v %v", res.Status, res.Err)
	}
}

func TestParseTarget(t *testing.T) {
	const drv = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo.drv"
	for text, through := range map[string]int{drv: 0, drv + "^*": 0, drv + "^out": 0, drv + "^dev,out": 0, drv + "^out^*": 1, drv + "^out^bin^dev,out": 2} {
		target, err := realiser.ParseTarget(text)
		if err != nil || target.String() != text || len(target.Through) != through {
			t.Errorf("%s: %+v %v", text, target, err)
		}
	}
	for _, text := range []string{"", "^out", "foo^out", drv + "^", drv + "^out^", drv + "^^out", drv + "^a/b", drv + "^a,b^out", strings.TrimSuffix(drv, ".drv") + "^out"} {
		if target, err := realiser.ParseTarget(text); err == nil {
			t.Errorf("%q is %+v", text, target)
		}
	}
}
