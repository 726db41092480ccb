package derivation_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"larder/store"
	"larder/store/derivation"
)

func TestCheckRefuses(t *testing.T) {
	c := readCorpus(t, "derivations/drvs.tar.zst")
	h := derivation.NewHasher(dir, c.read)
	const other = "/nix/store/7kmv2hw1zrh1ilw956rr9yaa262f8k7m-other"
	for base, outs := range map[string][]string{
		"8x3dy6vm20s5bmaarngbvrwvk1xz4xgh-simple.drv":      {"out"},
		"9a7hh9r1m25r9r7vsn77ipn4m5xi0iqd-dep-multi.drv":   {"out", "dev", "lib"},
		"1mnblragjqcwk63h571dlv01ixiv5cr4-fixed-ref.drv":   {"out"},
		"xj4m9zg4lw32ph5cfv3bz22lm4m9hwl4-flat-sha256.drv": {"out"},
	} {
		p := fullPath(t, "/nix/store/"+base)
		good, err := c.read(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		for _, out := range outs {
			changes := map[string]func(*derivation.Derivation){
				"another path": func(drv *derivation.Derivation) {
					o := drv.Outputs[out]
					o.Path = fullPath(t, other)
					drv.Outputs[out] = o
					drv.Env[out] = other
				},
				"another variable":  func(drv *derivation.Derivation) { drv.Env[out] = other },
				"an empty variable": func(drv *derivation.Derivation) { drv.Env[out] = "" },
				"another name":      func(drv *derivation.Derivation) { drv.Name += "x" },
				"another store path": func(drv *derivation.Derivation) {
					drv.Args = append(drv.Args, "x") // does not matter to fixed outputs
				},
			}
			if len(outs) == 1 {
				changes["no variable"] = func(drv *derivation.Derivation) { delete(drv.Env, out) }
			}
			for what, change := range changes {
				bad := good.Clone()
				change(bad)
				var wrong *derivation.OutputPathError
				if err := h.Check(t.Context(), p, bad); !errors.As(err, &wrong) {
					t.Errorf("%s with %s of %s passes (%v)", base, what, out, err)
				}
				if what == "another store path" {
					continue
				}
				// The same where the .drv lies at the path that its text has.
				own, err := bad.Path(dir)
				if err != nil {
					t.Fatal(err)
				}
				if err := h.Check(t.Context(), own, bad); !errors.As(err, &wrong) {
					t.Errorf("%s with %s of %s passes at its own path (%v)", base, what, out, err)
				} else if wrong.What == "store path" || wrong.Want == "" {
					t.Errorf("%s with %s of %s: %v", base, what, out, err)
				}
			}
		}
		if err := h.Check(t.Context(), p, good); err != nil {
			t.Error(err)
		}
	}
}

// An output can't have a path if what it depends on has none yet.
func TestCheckRefusesPathsOnDeferredInputs(t *testing.T) {
	c := readCorpus(t, "derivations/drvs.tar.zst")
	drv, err := c.read(t.Context(), fullPath(t, "/nix/store/gw93w47faqvizqdzxr5c0mxwf4ifdrzc-ia-on-ca.drv"))
	if err != nil {
		t.Fatal(err)
	}
	h := derivation.NewHasher(dir, c.read)
	m, err := h.Modulo(t.Context(), drv)
	if err != nil {
		t.Fatal(err)
	}
	path, err := dir.OutputPath("out", m.Hash, drv.Name)
	if err != nil {
		t.Fatal(err)
	}
	drv.Outputs["out"] = derivation.Output{Path: path}
	drv.Env["out"] = dir.Join(path)
	var invalid *derivation.InvalidError
	if err := h.Check(t.Context(), store.StorePath{}, drv); !errors.As(err, &invalid) {
		t.Errorf("it passes (%v)", err)
	}
}

// Blanking out what can be computed and filling it in again changes nothing.
func TestFill(t *testing.T) {
	c := readCorpus(t, "derivations/drvs.tar.zst")
	h := derivation.NewHasher(dir, c.read)
	for _, p := range c.paths() {
		drv, err := c.read(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		for _, remove := range []bool{false, true} {
			blank := drv.Clone()
			for name, o := range blank.Outputs {
				o.Path = store.StorePath{}
				blank.Outputs[name] = o
				blank.Env[name] = ""
				if remove {
					delete(blank.Env, name)
				}
			}
			if err := h.Fill(t.Context(), blank); err != nil {
				t.Error(err)
				continue
			}
			if got, err := blank.Path(dir); err != nil || got != p {
				t.Errorf("%s is filled in as\n%s\nwant\n%s", p, blank.ATerm(dir), c[p])
			}
		}
	}
}

func TestFillRefuses(t *testing.T) {
	c := readCorpus(t, "derivations/drvs.tar.zst")
	h := derivation.NewHasher(dir, c.read)
	drv := mustParse(t, "x", sample)
	drv.Env["dev"] = "/elsewhere"
	drv.InputDrvs = nil
	before := string(drv.ATerm(dir))
	var wrong *derivation.OutputPathError
	if err := h.Fill(t.Context(), drv); !errors.As(err, &wrong) || wrong.Got != "/elsewhere" {
		t.Errorf("a wrong variable is kept (%v)", err)
	}
	if after := string(drv.ATerm(dir)); after != before {
		t.Errorf("the derivation was changed to %s", after)
	}
}

func TestMissingInput(t *testing.T) {
	h := derivation.NewHasher(dir, corpus{}.read)
	if err := h.Fill(t.Context(), mustParse(t, "x", sample)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error %v, want that of reading", err)
	}
	c := readCorpus(t, "derivations/drvs.tar.zst")
	// dep2 has no output dev.
	var invalid *derivation.InvalidError
	if err := derivation.NewHasher(dir, c.read).Fill(t.Context(), mustParse(t, "x", sample)); !errors.As(err, &invalid) ||
		!strings.Contains(err.Error(), `no output "dev"`) {
		t.Errorf("error %v, want that there is no such output", err)
	}
}

// chain makes n derivations that each depend on the one before. They lie at
// made-up paths: the Hasher leaves it to its reader to check that.
func chain(t testing.TB, n int) (paths []store.StorePath, read func(context.Context, store.StorePath) (*derivation.Derivation, error)) {
	t.Helper()
	drvs := map[store.StorePath]*derivation.Derivation{}
	for i := range n {
		drv := &derivation.Derivation{Name: fmt.Sprint(i), Outputs: map[string]derivation.Output{"out": {}}}
		if i > 0 {
			drv.InputDrvs = map[store.StorePath][]string{paths[i-1]: {"out"}}
		}
		p, err := store.NewStorePath([20]byte{byte(i), byte(i >> 8)}, drv.Name+".drv")
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
		drvs[p] = drv
	}
	return paths, func(_ context.Context, p store.StorePath) (*derivation.Derivation, error) { return drvs[p], nil }
}

func TestLongChain(t *testing.T) {
	t.Parallel()
	const n = 20_000
	paths, read := chain(t, n)
	last, _ := read(t.Context(), paths[n-1])
	h := derivation.NewHasher(dir, read)
	want, err := h.Modulo(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	// Step by step it comes to the same.
	h = derivation.NewHasher(dir, read)
	for _, p := range paths {
		drv, _ := read(t.Context(), p)
		got, err := h.Modulo(t.Context(), drv)
		if err != nil {
			t.Fatal(err)
		}
		if drv == last && got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func TestCycle(t *testing.T) {
	paths, read := chain(t, 3)
	first, _ := read(t.Context(), paths[0])
	first.InputDrvs = map[store.StorePath][]string{paths[2]: {"out"}}
	var invalid *derivation.InvalidError
	for _, p := range paths {
		drv, _ := read(t.Context(), p)
		if _, err := derivation.NewHasher(dir, read).Modulo(t.Context(), drv); !errors.As(err, &invalid) {
			t.Errorf("a cycle has a hash (%v)", err)
		}
	}
}

func TestHasherIsCancelled(t *testing.T) {
	paths, read := chain(t, 10)
	ctx, cancel := context.WithCancel(t.Context())
	h := derivation.NewHasher(dir, func(ctx context.Context, p store.StorePath) (*derivation.Derivation, error) {
		cancel()
		return read(ctx, p)
	})
	last, _ := read(ctx, paths[9])
	if _, err := h.Modulo(ctx, last); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want cancelled", err)
	}
}

// A Hasher reads each derivation once, however many depend on it.
func TestHasherRemembers(t *testing.T) {
	paths, read := chain(t, 20)
	var mu sync.Mutex
	reads := map[store.StorePath]int{}
	h := derivation.NewHasher(dir, func(ctx context.Context, p store.StorePath) (*derivation.Derivation, error) {
		mu.Lock()
		defer mu.Unlock()
		reads[p]++
		return read(ctx, p)
	})
	for _, p := range paths {
		drv, _ := read(t.Context(), p)
		if _, err := h.OutputPaths(t.Context(), drv); err != nil {
			t.Fatal(err)
		}
	}
	for p, n := range reads {
		if n != 1 {
			t.Errorf("%s was read %d times", p, n)
		}
	}
}

// How a fixed output is made does not change the paths of what depends on it,
// and two derivations that promise the same count as one.
func TestModuloFixedOutputs(t *testing.T) {
	c := corpus{}
	h := derivation.NewHasher(dir, c.read)
	add := func(name, text string) store.StorePath {
		drv := mustParse(t, name, text)
		if err := h.Fill(t.Context(), drv); err != nil {
			t.Fatal(err)
		}
		p, err := drv.Path(dir)
		if err != nil {
			t.Fatal(err)
		}
		c[p] = drv.ATerm(dir)
		return p
	}
	fetch := func(url string) store.StorePath {
		return add("src", `Derive([("out","","sha256","`+hexHash+`")],[],[],"s","b",[],[("url","`+url+`")])`)
	}
	user := func(inputs ...store.StorePath) store.StorePath {
		drv := mustParse(t, "user", `Derive([("out","","","")],[],[],"s","b",[],[])`)
		for _, p := range inputs {
			drv.InputDrvs[p] = []string{"out"}
		}
		paths, err := h.OutputPaths(t.Context(), drv)
		if err != nil {
			t.Fatal(err)
		}
		return paths["out"]
	}
	a, b := fetch("http://a"), fetch("http://b")
	if a == b {
		t.Fatal("the same derivation")
	}
	if user(a) != user(b) || user(a) != user(a, b) {
		t.Error("the path depends on how the source is fetched")
	}
	if user(a) == user() {
		t.Error("the path does not depend on the source")
	}
}

// Random changes to a derivation always change its path, and those to what is
// not masked its outputs' paths.
func TestEveryFieldCounts(t *testing.T) {
	c := readCorpus(t, "derivations/drvs.tar.zst")
	h := derivation.NewHasher(dir, c.read)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	base := mustParse(t, "x", strings.Replace(sample, `"dev","out"]`, `"out"]`, 1))
	changes := map[string]func(*derivation.Derivation, string){
		"name":     func(d *derivation.Derivation, s string) { d.Name += s },
		"system":   func(d *derivation.Derivation, s string) { d.System += s },
		"builder":  func(d *derivation.Derivation, s string) { d.Builder += s },
		"args":     func(d *derivation.Derivation, s string) { d.Args = append(d.Args, s) },
		"env":      func(d *derivation.Derivation, s string) { d.Env["a"] += s },
		"variable": func(d *derivation.Derivation, s string) { d.Env["new"+s] = "" },
		"output":   func(d *derivation.Derivation, s string) { d.Outputs["new"+s] = derivation.Output{} },
		"input": func(d *derivation.Derivation, _ string) {
			d.InputDrvs = maps.Clone(d.InputDrvs)
			delete(d.InputDrvs, fullPath(t, depDrv))
		},
		"source": func(d *derivation.Derivation, _ string) { d.InputSrcs = d.InputSrcs[1:] },
	}
	paths, err := h.OutputPaths(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range changes {
		for range 10 {
			drv := base.Clone()
			change(drv, fmt.Sprintf("%x", random.Uint32()))
			if string(drv.ATerm(dir)) == string(base.ATerm(dir)) && what != "name" {
				t.Errorf("%s does not change the text (seed %d)", what, seed)
			}
			got, err := h.OutputPaths(t.Context(), drv)
			if err != nil {
				t.Fatal(err)
			}
			if got["out"] == paths["out"] || got["dev"] == paths["dev"] {
				t.Errorf("%s does not change the output paths (seed %d)", what, seed)
			}
		}
	}
}

func TestBasic(t *testing.T) {
	drv := mustParse(t, "x", sample)
	before := string(drv.ATerm(dir))
	b := drv.Basic([]store.StorePath{fullPath(t, depOut), fullPath(t, "/nix/store/7kmv2hw1zrh1ilw956rr9yaa262f8k7m-other")})
	if len(b.InputDrvs) != 0 || joinPaths(b.InputSrcs) != "/nix/store/7kmv2hw1zrh1ilw956rr9yaa262f8k7m-other "+srcPath+" "+depOut {
		t.Errorf("inputs %v and %s", b.InputDrvs, joinPaths(b.InputSrcs))
	}
	if err := b.Validate(); err != nil {
		t.Error(err)
	}
	if after := string(drv.ATerm(dir)); after != before {
		t.Error("the original was changed")
	}
}

// Derivations made by hand, not parsed, are held to the same rules.
func TestValidate(t *testing.T) {
	hash := store.SHA256.Sum(nil)
	fixed := derivation.Output{CA: store.ContentAddress{Method: store.Flat, Hash: hash}}
	for what, change := range map[string]func(*derivation.Derivation){
		"no hash": func(d *derivation.Derivation) {
			d.Outputs = map[string]derivation.Output{"out": {CA: store.ContentAddress{Method: store.Flat}}}
		},
		"no method": func(d *derivation.Derivation) {
			d.Outputs = map[string]derivation.Output{"out": {HashAlgo: store.SHA256}}
		},
		"fixed and floating": func(d *derivation.Derivation) {
			o := fixed
			o.HashAlgo = store.SHA256
			d.Outputs = map[string]derivation.Output{"out": o}
		},
		"no outputs":       func(d *derivation.Derivation) { d.Outputs = nil },
		"unsorted sources": func(d *derivation.Derivation) { d.InputSrcs[0], d.InputSrcs[1] = d.InputSrcs[1], d.InputSrcs[0] },
		"repeated source":  func(d *derivation.Derivation) { d.InputSrcs[0] = d.InputSrcs[1] },
		"unsorted outputs": func(d *derivation.Derivation) { d.InputDrvs[fullPath(t, depDrv)] = []string{"out", "dev"} },
		"name":             func(d *derivation.Derivation) { d.Name = "a b" },
	} {
		drv := mustParse(t, "x", sample)
		if err := drv.Validate(); err != nil {
			t.Fatal(err)
		}
		change(drv)
		var invalid *derivation.InvalidError
		if err := drv.Validate(); !errors.As(err, &invalid) {
			t.Errorf("%s: it is valid (%v)", what, err)
		}
		h := derivation.NewHasher(dir, corpus{}.read)
		if err := h.Check(t.Context(), store.StorePath{}, drv); !errors.As(err, &invalid) {
			t.Errorf("%s: it passes (%v)", what, err)
		}
	}
}
