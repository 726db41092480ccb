package derivation_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"larder/store"
	"larder/store/derivation"
	"larder/test/fixture"
)

func TestGraphs(t *testing.T) {
	t.Parallel()
	folder := fixture.Graphs(t)
	c := readCorpus(t, filepath.Join(folder, "corepkgs-drvs.tar.zst"))
	if len(c) != 25107 {
		t.Fatalf("%d derivations, want 25107", len(c))
	}
	h := derivation.NewHasher(dir, c.read)
	c.check(t, h)
	outputs := 0
	for _, row := range fixture.TSV(t, filepath.Join(folder, "corepkgs-drvs.tsv.zst")) {
		p := fullPath(t, row[0])
		drv, err := c.read(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		paths, err := h.OutputPaths(t.Context(), drv)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Fields(row[1])
		outputs += len(want)
		if len(want) != len(paths) {
			t.Errorf("%s: %d outputs, want %d", p, len(paths), len(want))
		}
		for _, w := range want {
			name, rest, _ := strings.Cut(w, "=")
			path, _, _ := strings.Cut(rest, ":")
			if got := dir.Join(paths[name]); got != path {
				t.Errorf("%s: output %s is %s, want %s", p, name, got, path)
			}
		}
		if got := joinPaths(drv.References()); got != row[4] {
			t.Errorf("%s: references %s, want %s", p, got, row[4])
		}
	}
	if outputs != 31908 {
		t.Errorf("%d output paths, want 31908", outputs)
	}
}

func TestCases(t *testing.T) {
	t.Parallel()
	c := readCorpus(t, "derivations/drvs.tar.zst")
	h := derivation.NewHasher(dir, c.read)
	c.check(t, h)
	checked := 0
	for _, row := range fixture.TSV(t, "derivations/drvs.tsv") {
		p := fullPath(t, row[0])
		if !p.IsDerivation() {
			continue
		}
		drv, err := c.read(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		checked++
		if got := "text:" + store.SHA256.Sum(drv.ATerm(dir)).String(); got != row[3] {
			t.Errorf("%s: content address %s, want %s", p, got, row[3])
		}
		if got := joinPaths(drv.References()); got != row[4] {
			t.Errorf("%s: references %q, want %q", p, got, row[4])
		}
	}
	if checked != len(c) {
		t.Errorf("%d derivations in the table, want %d", checked, len(c))
	}
	for _, row := range fixture.TSV(t, "derivations/outputs.tsv") {
		if row[2] == "" {
			continue // it does not evaluate
		}
		drv, err := c.read(t.Context(), fullPath(t, row[2]))
		if err != nil {
			t.Fatal(err)
		}
		paths, err := h.OutputPaths(t.Context(), drv)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if p, ok := paths[row[3]]; ok {
			got = dir.Join(p)
		}
		if got != row[4] {
			t.Errorf("%s: output %s is %q, want %q", row[0], row[3], got, row[4])
		}
	}
}

// The identities of realisations follow from the hash modulo of content-addressed
// and deferred derivations too.
func TestDrvOutputs(t *testing.T) {
	t.Parallel()
	c := readCorpus(t, "derivations/drvs.tar.zst")
	h := derivation.NewHasher(dir, c.read)
	files, err := filepath.Glob(filepath.Join(fixture.Path(t, "derivations/expected"), "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	checked := map[derivation.Kind]int{}
	for _, file := range files {
		var want struct {
			DrvPath      string
			Realisations []store.Realisation
		}
		if err := json.Unmarshal(fixture.Read(t, file), &want); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(want.Realisations) == 0 {
			continue
		}
		drv, err := c.read(t.Context(), fullPath(t, want.DrvPath))
		if err != nil {
			t.Fatal(err)
		}
		ids, err := h.DrvOutputs(t.Context(), drv)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range want.Realisations {
			checked[drv.Kind()]++
			if got := ids[r.ID.Output]; got != r.ID {
				t.Errorf("%s: %s, want %s", want.DrvPath, got, r.ID)
			}
		}
	}
	for _, k := range []derivation.Kind{derivation.InputAddressed, derivation.FixedOutput, derivation.FloatingCA, derivation.Deferred} {
		if checked[k] == 0 {
			t.Errorf("no %s derivation was checked", k)
		}
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	c := readCorpus(t, "derivations/drvs.tar.zst")
	for base, want := range map[string]derivation.Kind{
		"8x3dy6vm20s5bmaarngbvrwvk1xz4xgh-simple.drv":       derivation.InputAddressed,
		"1mnblragjqcwk63h571dlv01ixiv5cr4-fixed-ref.drv":    derivation.FixedOutput,
		"b4hy06archzhy3xddxsllr8lb6530fgh-ca-sha1.drv":      derivation.FloatingCA,
		"gw93w47faqvizqdzxr5c0mxwf4ifdrzc-ia-on-ca.drv":     derivation.Deferred,
		"8xriryw2bwv618sx68xdsmv07q4ir8q4-ia-on-impure.drv": derivation.Deferred,
		"jr4xs43nq67d185w8pia6hlj38vg076f-impure.drv":       derivation.Impure,
	} {
		drv, err := c.read(t.Context(), fullPath(t, "/nix/store/"+base))
		if err != nil {
			t.Fatal(err)
		}
		if drv.Kind() != want {
			t.Errorf("%s is %s, want %s", base, drv.Kind(), want)
		}
		m, err := derivation.NewHasher(dir, c.read).Modulo(t.Context(), drv)
		if err != nil {
			t.Fatal(err)
		}
		if want := want > derivation.FixedOutput; m.Deferred != want {
			t.Errorf("%s: deferred is %v, want %v", base, m.Deferred, want)
		}
	}
}

// The placeholders that Nix put into builders and environments.
func TestPlaceholders(t *testing.T) {
	t.Parallel()
	if got, want := derivation.Placeholder("out"), "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"; got != want {
		t.Errorf("placeholder %s, want %s", got, want)
	}
	for base, want := range map[string]string{
		"7w8ww6y28wmmdcb2m4z47mmwpj9cx6x4-ca-same.drv":  "/1lk28r75yasw8zxb0vnd5kaw4dglsdkpzsvz5n212q6i1304a199",
		"gw93w47faqvizqdzxr5c0mxwf4ifdrzc-ia-on-ca.drv": "/04f8bcbmqpjxzn3yf9b7gyagw9gwy9z87rwpxxfybbakggxvgxxv",
	} {
		if got := derivation.UpstreamPlaceholder(fullPath(t, "/nix/store/"+base), "out"); got != want {
			t.Errorf("%s: placeholder %s, want %s", base, got, want)
		}
	}
	// dep-multi's lib, by hand: the name is that of the output.
	p := fullPath(t, "/nix/store/9a7hh9r1m25r9r7vsn77ipn4m5xi0iqd-dep-multi.drv")
	want := "/" + store.SHA256.Sum([]byte("nix-upstream-output:9a7hh9r1m25r9r7vsn77ipn4m5xi0iqd:dep-multi-lib")).Encode(store.Nix32)
	if got := derivation.UpstreamPlaceholder(p, "lib"); got != want {
		t.Errorf("placeholder %s, want %s", got, want)
	}
}

// BenchmarkGraph parses the whole graph and computes every hash modulo.
func BenchmarkGraph(b *testing.B) {
	c := readCorpus(b, filepath.Join(fixture.Graphs(b), "corepkgs-drvs.tar.zst"))
	paths := c.paths()
	size := int64(0)
	for _, text := range c {
		size += int64(len(text))
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		parsed := make(map[store.StorePath]*derivation.Derivation, len(c))
		for _, p := range paths {
			drv, err := c.read(b.Context(), p)
			if err != nil {
				b.Fatal(err)
			}
			parsed[p] = drv
		}
		h := derivation.NewHasher(dir, func(_ context.Context, p store.StorePath) (*derivation.Derivation, error) {
			return parsed[p], nil
		})
		for _, p := range paths {
			if _, err := h.OutputPaths(b.Context(), parsed[p]); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkParse(b *testing.B) {
	c := readCorpus(b, "derivations/drvs.tar.zst")
	p := fullPath(b, "/nix/store/0cj0qi9mlaskcbwy1bcxynpcd6fw6cdh-long.drv")
	for name, text := range map[string][]byte{"long value": c[p], "small": c[fullPath(b, "/nix/store/8x3dy6vm20s5bmaarngbvrwvk1xz4xgh-simple.drv")]} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := derivation.Parse(dir, "x", text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
