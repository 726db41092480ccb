package derivation_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"larder/store"
	"larder/store/derivation"
	"larder/test/fixture"
)

// TestResolveAsNix resolves the derivations of the fixtures that Nix resolved, and
// compares with the derivation that it built instead.
func TestResolveAsNix(t *testing.T) {
	c := readCorpus(t, "derivations/drvs.tar.zst")
	read := func(p store.StorePath) *derivation.Derivation {
		drv, err := c.read(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return drv
	}
	// What real Nix realised, by derivation.
	made := map[store.StorePath]map[string]store.StorePath{}
	resolvedTo := map[store.StorePath]store.StorePath{}
	files, err := filepath.Glob(fixture.Path(t, "derivations/expected/*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		var e struct {
			DrvPath string
			Outputs map[string]string
			Build   struct{ Local struct{ Stderr string } }
		}
		text, err := os.ReadFile(f)
		if err == nil {
			err = json.Unmarshal(text, &e)
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Outputs) > 0 {
			outputs := map[string]store.StorePath{}
			for name, p := range e.Outputs {
				outputs[name] = fullPath(t, p)
			}
			made[fullPath(t, e.DrvPath)] = outputs
		}
		for line := range strings.Lines(e.Build.Local.Stderr) {
			rest, ok := strings.CutPrefix(line, "resolved derivation: '")
			if from, to, found := strings.Cut(rest, "' -> '"); ok && found {
				to, _, _ = strings.Cut(to, "'")
				resolvedTo[fullPath(t, from)] = fullPath(t, to)
			}
		}
	}
	// Cases that are only inputs of others.
	made[fullPath(t, "/nix/store/vz9jxrvyqs7rxvxmjw03kx63crx8fq12-ca-inner.drv")] =
		map[string]store.StorePath{"out": fullPath(t, "/nix/store/xj74g1x4434w3q1r4x3r0f1cj80vp7ml-ca-inner")}
	compared := 0
	for from, to := range resolvedTo {
		drv, inputs := read(from), map[store.StorePath]derivation.Built{}
		for in := range drv.InputDrvs {
			outputs := made[in]
			if outputs == nil {
				outputs = map[string]store.StorePath{}
				for name, o := range read(in).Outputs {
					if !o.Path.IsZero() {
						outputs[name] = o.Path
					}
				}
			}
			inputs[in] = derivation.Built{Outputs: outputs}
		}
		resolved, err := drv.Resolve(t.Context(), dir, inputs)
		if err != nil {
			t.Logf("%s: %v", from, err) // an input that no case is about
			continue
		}
		compared++
		if got, err := resolved.Path(dir); err != nil || got != to {
			t.Errorf("%s resolves to %s, %v, want %s", from, got, err, to)
		}
		if k := resolved.Kind(); k == derivation.Deferred || len(resolved.InputDrvs) > 0 {
			t.Errorf("%s is %s after resolution", from, k)
		}
		if err := newHasher(c).Check(t.Context(), to, resolved); err != nil {
			t.Error(err)
		}
	}
	if compared < 6 {
		t.Errorf("only %d of %d were compared", compared, len(resolvedTo))
	}
}

func newHasher(c corpus) *derivation.Hasher { return derivation.NewHasher(dir, c.read) }

// The texts that Nix's manual and its own tests give for dynamic derivations.
const dynamicText = `DrvWithVersion("xp-dyn-drv",[("out","","r:sha256","")],[("` + dep2Drv + `",(["out"],[("out",["cat","dog"]),("x",([],[("y",["z"])]))])),("` +
	depDrv + `",["out"])],[],"s","b",["` + "%s" + `"],[("out","")])`

func TestDynamicDerivations(t *testing.T) {
	in := fullPath(t, dep2Drv)
	deep := derivation.UpstreamPlaceholder(in, "x", "y", "z")
	text := strings.Replace(dynamicText, "%s", deep+" "+derivation.UpstreamPlaceholder(in, "out", "cat"), 1)
	drv := mustParse(t, "x", text)
	if got := string(drv.ATerm(dir)); got != text {
		t.Fatalf("printed as %s\nwant %s", got, text)
	}
	if needed := strings.Join(drv.Use(in).Needed(), " "); needed != "out x" {
		t.Errorf("needed: %s", needed)
	}
	form, err := drv.JSON(dir, derivation.Format4)
	if err != nil {
		t.Fatal(err)
	}
	again, err := derivation.FromJSON(dir, "x", form)
	if err != nil || string(again.ATerm(dir)) != text {
		t.Errorf("through JSON: %v\n%s", err, form)
	}
	if _, err := drv.JSON(dir, derivation.FormatShow); err == nil {
		t.Error("the old JSON form can't say what it is")
	}
	cat, z, out := fullPath(t, depOut), fullPath(t, srcPath), fullPath(t, "/nix/store/0ck8rbk1p5y5yirv319fv399k8bhkkhl-probe")
	one := func(name string, p store.StorePath) map[string]store.StorePath {
		return map[string]store.StorePath{name: p}
	}
	inputs := map[store.StorePath]derivation.Built{
		in: {Outputs: one("out", out), Dynamic: map[string]derivation.Built{
			"out": {Outputs: map[string]store.StorePath{"cat": cat, "dog": cat}},
			"x":   {Dynamic: map[string]derivation.Built{"y": {Outputs: one("z", z)}}},
		}},
		fullPath(t, depDrv): {Outputs: one("out", cat)},
	}
	resolved, err := drv.Resolve(t.Context(), dir, inputs)
	if err != nil {
		t.Fatal(err)
	}
	if want := dir.Join(z) + " " + dir.Join(cat); resolved.Args[0] != want || len(resolved.InputSrcs) != 3 || resolved.IsDynamic() {
		t.Errorf("resolved: %s", resolved.ATerm(dir))
	}
	inputs[in].Dynamic["x"].Dynamic["y"] = derivation.Built{}
	if _, err := drv.Resolve(t.Context(), dir, inputs); err == nil || !strings.Contains(err.Error(), dep2Drv+"^x^y") {
		t.Errorf("without an output: %v", err)
	}
}

// What is used of derivations that are built first is part of the identity of
// what uses it.
func TestDynamicOutputsAreHashed(t *testing.T) {
	c := readCorpus(t, "derivations/drvs.tar.zst")
	ids := map[string]string{}
	for _, used := range []string{`"a"`, `"b"`, `"a","b"`} {
		text := `DrvWithVersion("xp-dyn-drv",[("out","","","")],[("` + depDrv + `",([],[("out",[` + used + `])]))],[],"s","b",[],[("out","")])`
		m, err := newHasher(c).Modulo(t.Context(), mustParse(t, "x", text))
		if err != nil {
			t.Fatal(err)
		}
		if !m.Deferred {
			t.Error("its path seems to be known")
		}
		if other, ok := ids[m.Hash.String()]; ok {
			t.Errorf("%s has the hash of %s", used, other)
		}
		ids[m.Hash.String()] = used
	}
}

// The values are those of the tests of Nix.
func TestComputedPlaceholder(t *testing.T) {
	drv := fullPath(t, "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo.drv.drv")
	if got := derivation.UpstreamPlaceholder(drv, "out", "out"); got != "/0gn6agqxjyyalf0dpihgyf49xq5hqxgw100f0wydnj6yqrhqsb3w" {
		t.Errorf("got %s", got)
	}
}
