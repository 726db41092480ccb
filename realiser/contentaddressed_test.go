package realiser_test

import (
	"crypto/rand"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
	"larder/store/cache"
	"larder/store/derivation"
	"larder/test/fixture"
)

// TestLocalRealisationWithoutPath builds again what was deleted.
func TestLocalRealisationWithoutPath(t *testing.T) {
	box := realSandbox(t)
	contents := readContents(t)
	s := openStore(t)
	leaf, top, _ := caPackages(t, s, contents)
	key, err := store.GenerateKey("me", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, s, box, func(o *realiser.Options) { o.SecretKeys = []store.SecretKey{key} })
	for range 2 {
		res := build(t, r, realiser.Target{Drv: top}, realiser.Target{Drv: leaf})
		if res[0].Status != result.Built || res[0].Outputs["out"] != contents.path(t, "caTop", "out") {
			t.Fatalf("%v %v %v", res[0].Status, res[0].Err, res[0].Outputs)
		}
		drv, err := s.Derivation(t.Context(), top)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := derivation.NewHasher(store.DefaultDir, s.Derivation).DrvOutputs(t.Context(), drv)
		if err != nil {
			t.Fatal(err)
		}
		known, err := s.Realisation(t.Context(), ids["out"])
		if err != nil || !known.SignedBy(store.NewKeyRing(key.Public())) {
			t.Errorf("%+v, %v", known, err)
		}
		if _, err := s.Delete(t.Context(), res[0].Outputs["out"], res[0].Outputs["lib"], res[1].Outputs["out"]); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Realisation(t.Context(), ids["out"]); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the realisation of a path that is gone: %v", err)
		}
	}
}

// TestCheckContentAddressed builds once more what resolution leads to, and says if
// something else comes of it.
func TestCheckContentAddressed(t *testing.T) {
	box := realSandbox(t)
	contents := readContents(t)
	s := openStore(t)
	r := open(t, s, box, nil)
	_, top, _ := caPackages(t, s, contents)
	different := addDrv(t, s, &derivation.Derivation{Name: "different", System: "x86_64-linux", Builder: "/bin/sh",
		Args:    []string{"-ec", "cat /proc/sys/kernel/random/uuid > $out"},
		Outputs: map[string]derivation.Output{"out": {HashAlgo: store.SHA256, Method: store.Recursive}}})
	check := func(drv store.StorePath) realiser.BuildResult {
		o, err := r.Build(t.Context(), store.Caller{}, realiser.Request{Targets: []realiser.Target{{Drv: drv}}, Mode: realiser.ModeCheck})
		if err != nil {
			t.Fatal(err)
		}
		return o.Results[0]
	}
	if res := check(top); res.Err == nil || !strings.Contains(res.Err.Error(), "checking is not possible") {
		t.Errorf("not built yet: %v %v", res.Status, res.Err)
	}
	before := build(t, r, realiser.Target{Drv: top}, realiser.Target{Drv: different})
	if res := check(top); res.Status != result.Built || res.Outputs["out"] != before[0].Outputs["out"] {
		t.Errorf("%v %v %v", res.Status, res.Err, res.Outputs)
	}
	if res := check(different); res.Status != result.NotDeterministic {
		t.Errorf("%v %v", res.Status, res.Err)
	}
	if res := build(t, r, realiser.Target{Drv: different})[0]; res.Status != result.AlreadyValid || res.Outputs["out"] != before[1].Outputs["out"] {
		t.Errorf("after the check: %v %v %v", res.Status, res.Err, res.Outputs)
	}
}

// TestAccessToContentAddressed makes absent outputs present for who opens them: by
// the resolved derivation where that says the path, else from a cache.
func TestAccessToContentAddressed(t *testing.T) {
	box := realSandbox(t)
	contents, plain := readContents(t), filepath.Join(fixture.Unpack(t, "caches/plain.tar.zst"), "plain")
	s := openStore(t)
	leaf, _, ia := caPackages(t, s, contents)
	r := open(t, s, box, nil)
	deferred, floating := contents.path(t, "iaOnCa", "out"), contents.path(t, "caLeaf", "out")
	if err := r.Realise(t.Context(), store.Caller{}, deferred); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("nobody knows it yet: %v", err)
	}
	build(t, r, realiser.Target{Drv: ia})
	if _, err := s.Delete(t.Context(), deferred); err != nil {
		t.Fatal(err)
	}
	if err := r.Realise(t.Context(), store.Caller{}, deferred); err != nil {
		t.Error(err)
	}
	if !s.IsPresent(deferred) {
		t.Error("it is still absent")
	}

	other := openStore(t)
	caPackages(t, other, contents)
	sub := substituting(t, other, openCache(t, "file://"+filepath.Join(plain, "realisations"), cache.Options{}))
	if err := sub.Realise(t.Context(), store.Caller{}, floating); err != nil {
		t.Error(err)
	}
	if res := build(t, sub, realiser.Target{Drv: leaf})[0]; res.Status != result.Substituted || res.Outputs["out"] != floating {
		t.Errorf("what it is an output of: %v %v", res.Status, res.Err)
	}
}
