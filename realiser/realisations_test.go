package realiser_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
	"larder/store/cache"
	"larder/store/derivation"
	"larder/store/local"
	"larder/test/fixture"
)

// caPackages registers the derivations of caches/pkgs.nix that are about content
// addresses, as Nix instantiates them.
func caPackages(t *testing.T, s *local.Store, c *cacheContents) (leaf, top, ia store.StorePath) {
	t.Helper()
	add := func(attr, name, script string, floating bool, outputs []string, inputs map[store.StorePath][]string) store.StorePath {
		drv := &derivation.Derivation{Name: name, System: "x86_64-linux", Builder: "/bin/sh", Args: []string{"-ec", script},
			Outputs: map[string]derivation.Output{}, InputDrvs: inputs,
			Env: map[string]string{"name": name, "system": "x86_64-linux", "builder": "/bin/sh"}}
		for _, o := range outputs {
			drv.Outputs[o] = derivation.Output{}
			if floating {
				drv.Outputs[o] = derivation.Output{HashAlgo: store.SHA256, Method: store.Recursive}
			}
		}
		if floating {
			drv.Env["outputHashMode"], drv.Env["outputHashAlgo"] = "recursive", "sha256"
		}
		if len(outputs) > 1 {
			drv.Env["outputs"] = strings.Join(outputs, " ")
		}
		p := addDrv(t, s, drv)
		if p != parsePath(t, c.Drvs[attr]) {
			t.Fatalf("%s is %s, want %s", attr, p, c.Drvs[attr])
		}
		return p
	}
	leaf = add("caLeaf", "ca-leaf", "mkdir $out; echo content > $out/file; echo $out > $out/self", true, []string{"out"}, nil)
	top = add("caTop", "ca-top", "mkdir $out $lib; echo "+derivation.UpstreamPlaceholder(leaf, "out")+" > $out/leaf; echo lib > $lib/lib",
		true, []string{"out", "lib"}, map[store.StorePath][]string{leaf: {"out"}})
	ia = add("iaOnCa", "ia-on-ca", "echo "+derivation.UpstreamPlaceholder(top, "out")+" > $out", false, []string{"out"}, map[store.StorePath][]string{top: {"out"}})
	return leaf, top, ia
}

func build(t *testing.T, r *realiser.Realiser, targets ...realiser.Target) []realiser.BuildResult {
	t.Helper()
	o, err := r.Build(t.Context(), store.Caller{}, realiser.Request{Targets: targets, KeepGoing: true})
	if err != nil {
		t.Fatal(err)
	}
	return o.Results
}

// TestRealisationsFromNix substitutes outputs whose paths only a cache that real
// Nix wrote can tell, with all that they were built with.
func TestRealisationsFromNix(t *testing.T) {
	contents, plain := readContents(t), filepath.Join(fixture.Unpack(t, "caches/plain.tar.zst"), "plain")
	s := openStore(t)
	leaf, top, ia := caPackages(t, s, contents)
	r := substituting(t, s, openCache(t, "file://"+filepath.Join(plain, "realisations"), cache.Options{}))
	plan, err := r.Plan(t.Context(), []realiser.Target{{Drv: ia}})
	if err != nil || len(plan.Build) > 0 || len(plan.Substitute) != 3 {
		t.Errorf("plan: %+v %v", plan, err)
	}
	for attr, drv := range map[string]store.StorePath{"iaOnCa": ia, "caTop": top, "caLeaf": leaf} {
		res := build(t, r, realiser.Target{Drv: drv})[0]
		if res.Err != nil {
			t.Fatal(res.Err)
		}
		for output, p := range res.Outputs {
			if p != contents.path(t, attr, output) {
				t.Errorf("%s^%s is %s", attr, output, p)
			}
			contents.checkInfo(t, s, p)
		}
	}
	// As Nix has written them.
	files, err := filepath.Glob(filepath.Join(plain, "realisations", "realisations", "*.doi"))
	if err != nil || len(files) != 4 {
		t.Fatalf("%v %v", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		id, err := store.ParseDrvOutput(strings.TrimSuffix(filepath.Base(f), ".doi"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Realisation(t.Context(), id); err != nil || jsonText(t, got) != strings.TrimSpace(string(text)) {
			t.Errorf("%v %v, want %s", got, err, text)
		}
	}
}

// TestBuiltOnRealisationsFromNix builds on what a cache says, and what was said
// stays known after a restart.
func TestBuiltOnRealisationsFromNix(t *testing.T) {
	box := realSandbox(t)
	contents, plain := readContents(t), filepath.Join(fixture.Unpack(t, "caches/plain.tar.zst"), "plain")
	s := openStore(t)
	_, top, ia := caPackages(t, s, contents)
	if err := os.Remove(filepath.Join(plain, "realisations", contents.path(t, "iaOnCa", "out").HashPart()+".narinfo")); err != nil {
		t.Fatal(err) // a realisation whose path has gone
	}
	c := openCache(t, "file://"+filepath.Join(plain, "realisations"), cache.Options{})
	r := open(t, s, box, func(o *realiser.Options) { o.Substituters = []realiser.Substituter{c} })
	res := build(t, r, realiser.Target{Drv: ia})[0]
	if res.Status != result.Built || res.Outputs["out"] != contents.path(t, "iaOnCa", "out") {
		t.Fatalf("%v %v %v", res.Status, res.Err, res.Outputs)
	}
	contents.checkInfo(t, s, contents.path(t, "caTop", "out"))
	r.Close()
	again := substituting(t, s)
	for _, drv := range []store.StorePath{ia, top} {
		res := build(t, again, realiser.Target{Drv: drv, Outputs: []string{"out"}})[0]
		if res.Status != result.AlreadyValid {
			t.Errorf("after a restart: %v %v", res.Status, res.Err)
		}
	}
}

// TestRealisationsNeedSignatures takes what a cache says about outputs only if a
// trusted key has signed it, in the older form and the newer one.
func TestRealisationsNeedSignatures(t *testing.T) {
	contents, plain := readContents(t), filepath.Join(fixture.Unpack(t, "caches/plain.tar.zst"), "plain")
	dir := filepath.Join(plain, "realisations")
	key, err := store.GenerateKey("me", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	policy := cache.Options{Policy: cache.Policy{Keys: store.NewKeyRing(key.Public()), RequireSigs: true}}
	try := func() (realiser.BuildResult, *local.Store) {
		s := openStore(t)
		leaf, _, _ := caPackages(t, s, contents)
		r := substituting(t, s, openCache(t, "file://"+dir, policy))
		return build(t, r, realiser.Target{Drv: leaf})[0], s
	}
	refused := func(why string) {
		t.Helper()
		res, s := try()
		if !errors.Is(res.Err, store.ErrBadSignature) || res.Status != result.TransientFailure || s.IsPresent(contents.path(t, "caLeaf", "out")) {
			t.Errorf("%s: %v %v", why, res.Status, res.Err)
		}
	}
	accepted := func(what string) {
		t.Helper()
		if res, _ := try(); res.Status != result.Substituted || res.Outputs["out"] != contents.path(t, "caLeaf", "out") {
			t.Errorf("%s: %v %v", what, res.Status, res.Err)
		}
	}
	refused("nobody has signed")

	s := openStore(t)
	leaf, _, _ := caPackages(t, s, contents)
	drv, err := s.Derivation(t.Context(), leaf)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := derivation.NewHasher(store.DefaultDir, s.Derivation).DrvOutputs(t.Context(), drv)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "realisations", ids["out"].String()+".doi")
	good := store.Realisation{ID: ids["out"], OutPath: contents.path(t, "caLeaf", "out")}
	write := func(file string, text []byte) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, text, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	other := good
	other.OutPath = contents.path(t, "caTop", "out")
	other.Signatures = []store.Signature{key.Sign(good.Fingerprint())}
	write(file, []byte(jsonText(t, other)))
	refused("the signature is of another path")
	good.Signatures = []store.Signature{key.Sign(good.Fingerprint())}
	write(file, []byte(jsonText(t, good)))
	accepted("the older form")

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	trace := store.BuildTrace{Drv: leaf, Output: "out", OutPath: good.OutPath}
	for _, sign := range []bool{false, true} {
		if sign {
			trace.Signatures = []store.Signature{key.Sign(trace.Fingerprint())}
		}
		text, err := trace.Text()
		if err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(dir, "build-trace-v2", leaf.String(), "out.doi"), text)
		if sign {
			accepted("the newer form")
		} else {
			refused("nobody has signed the newer form")
		}
	}

	for _, hostile := range []string{"{", `{"id":"` + ids["out"].String() + `"}`, strings.Repeat(" ", 2<<20),
		`{"outPath":"../../etc/passwd","id":"` + ids["out"].String() + `"}`} {
		write(file, []byte(hostile))
		if res, _ := try(); res.Status != result.TransientFailure {
			t.Errorf("%.50s: %v %v", hostile, res.Status, res.Err)
		}
	}
}

// TestIncompatibleRealisation does not take an output that was built with another
// input than the one that is here.
func TestIncompatibleRealisation(t *testing.T) {
	box := realSandbox(t)
	contents, plain := readContents(t), filepath.Join(fixture.Unpack(t, "caches/plain.tar.zst"), "plain")
	s := openStore(t)
	leaf, top, _ := caPackages(t, s, contents)
	drv, err := s.Derivation(t.Context(), leaf)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := derivation.NewHasher(store.DefaultDir, s.Derivation).DrvOutputs(t.Context(), drv)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := s.AddText(t.Context(), "ca-leaf", []byte("made elsewhere"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RegisterRealisation(t.Context(), &store.Realisation{ID: ids["out"], OutPath: mine}); err != nil {
		t.Fatal(err)
	}
	c := openCache(t, "file://"+filepath.Join(plain, "realisations"), cache.Options{})
	r := open(t, s, box, func(o *realiser.Options) { o.Substituters = []realiser.Substituter{c} })
	res := build(t, r, realiser.Target{Drv: top, Outputs: []string{"out"}})[0]
	if res.Status != result.Built || res.Outputs["out"] == contents.path(t, "caTop", "out") {
		t.Fatalf("%v %v %v", res.Status, res.Err, res.Outputs)
	}
	if refs, err := s.References(t.Context(), res.Outputs["out"]); err != nil || len(refs) != 1 || refs[0] != mine {
		t.Errorf("it refers to %v, %v", refs, err)
	}
}

// TestNextRealisations goes on to the next cache when one fails, knows nothing, or
// has only the realisation.
func TestNextRealisations(t *testing.T) {
	contents, plain := readContents(t), filepath.Join(fixture.Unpack(t, "caches/plain.tar.zst"), "plain")
	good := openCache(t, "file://"+filepath.Join(plain, "realisations"), cache.Options{})
	for name, first := range map[string]realiser.Substituter{
		"broken":           brokenRealisations{good},
		"nothing":          openCache(t, "file://"+filepath.Join(plain, "default"), cache.Options{}),
		"no realisations":  struct{ realiser.Substituter }{good},
		"only realisation": pathsGone{good},
	} {
		s := openStore(t)
		_, top, _ := caPackages(t, s, contents)
		if res := build(t, substituting(t, s, first, good), realiser.Target{Drv: top})[0]; res.Status != result.Substituted {
			t.Errorf("%s: %v %v", name, res.Status, res.Err)
		}
		s = openStore(t)
		_, top, _ = caPackages(t, s, contents)
		res := build(t, substituting(t, s, first), realiser.Target{Drv: top})[0]
		if broken := errors.Is(res.Err, errBroken); res.Err == nil || broken != (name == "broken") {
			t.Errorf("%s alone: %v %v", name, res.Status, res.Err)
		}
	}
}

var errBroken = errors.New("the cache is down")

type brokenRealisations struct{ *cache.Cache }

func (brokenRealisations) Realisation(context.Context, store.DrvOutput) (*store.Realisation, error) {
	return nil, errBroken
}

type pathsGone struct{ *cache.Cache }

func (pathsGone) NarInfo(context.Context, store.StorePath) (*store.NarInfo, error) {
	return nil, store.ErrNotFound
}
