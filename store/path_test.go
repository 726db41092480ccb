package store_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"larder/store"
)

const dir = store.DefaultDir

const leaf = "vds695s5vacf87gpc6kqh7rngk328zbb-leaf"

func mustPath(t testing.TB, base string) store.StorePath {
	t.Helper()
	p, err := store.ParseStorePath(base)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseStorePath(t *testing.T) {
	p := mustPath(t, leaf)
	if p.String() != leaf || p.Name() != "leaf" || p.HashPart() != leaf[:32] || p.IsZero() || p.IsDerivation() {
		t.Errorf("%v: name %s, digest %s", p, p.Name(), p.HashPart())
	}
	if again, err := store.NewStorePath(p.Digest(), p.Name()); err != nil || again != p {
		t.Errorf("%v (%v)", again, err)
	}
	for _, good := range []string{leaf + ".drv", leaf[:33] + ".hidden", leaf[:33] + "aZ09+-._?=", leaf[:33] + "...", leaf[:33] + strings.Repeat("n", 211), leaf[:33] + "-"} {
		if p, err := store.ParseStorePath(good); err != nil || p.String() != good {
			t.Errorf("%q: %v (%v)", good, p, err)
		}
	}
	for _, bad := range []string{
		"", "leaf", leaf[:32], leaf[:33], leaf[1:], "e" + leaf[1:], strings.ToUpper(leaf[:32]) + "-leaf",
		leaf[:32] + "_leaf", leaf + "/", leaf + " ", leaf + "\n", leaf + "\x00", leaf + "ä", leaf + "~", leaf + ":", leaf + "!", leaf + "^out",
		leaf[:33] + ".", leaf[:33] + "..", leaf[:33] + ".-x", leaf[:33] + "..-x",
		leaf[:33] + strings.Repeat("n", 212), "/" + leaf, "/nix/store/" + leaf,
	} {
		p, err := store.ParseStorePath(bad)
		var syntax *store.SyntaxError
		if err == nil || !errors.As(err, &syntax) || !p.IsZero() {
			t.Errorf("%q is taken for %q (%v)", bad, p, err)
		}
	}
}

func TestDir(t *testing.T) {
	p := mustPath(t, leaf)
	for _, d := range []store.Dir{"/nix/store", "/gnu/store", "/a"} {
		if got, err := d.Parse(d.Join(p)); err != nil || got != p {
			t.Errorf("%s: %v (%v)", d, got, err)
		}
		for _, rest := range []string{"", "/", "/bin/sh", "//x"} {
			if got, r, err := d.Split(d.Join(p) + rest); err != nil || got != p || r != rest {
				t.Errorf("%s: %v and %q (%v)", d, got, r, err)
			}
		}
	}
	for _, bad := range []string{"", leaf, "/nix/store", "/nix/store/", "/nix/store//" + leaf, "/nix/store/./" + leaf, "/nix/storex/" + leaf, "/gnu/store/" + leaf, "nix/store/" + leaf, "/nix/store/" + leaf + "/x"} {
		if p, err := dir.Parse(bad); err == nil || !p.IsZero() {
			t.Errorf("%q is taken for %v", bad, p)
		}
	}
	for _, good := range []string{"/nix/store", "/s", "/home/me/.local/share/store dir"} {
		if d, err := store.ParseDir(good); err != nil || string(d) != good {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "/", "nix/store", "/nix/store/", "/nix//store", "/nix/../store", "/nix/./store", "/a\x00", "/a\n"} {
		if _, err := store.ParseDir(bad); err == nil {
			t.Errorf("%q is taken for a store directory", bad)
		}
	}
}

func TestStorePathText(t *testing.T) {
	type doc struct {
		Path store.StorePath
		Map  map[store.StorePath]int
	}
	in := doc{mustPath(t, leaf), map[store.StorePath]int{mustPath(t, leaf): 1}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out doc
	if err := json.Unmarshal(b, &out); err != nil || out.Path != in.Path || out.Map[in.Path] != 1 {
		t.Errorf("%s comes back as %v (%v)", b, out, err)
	}
	if err := json.Unmarshal([]byte(`{"Path":""}`), &out); err != nil || !out.Path.IsZero() {
		t.Errorf("empty comes back as %v (%v)", out.Path, err)
	}
	p := mustPath(t, leaf)
	if err := p.UnmarshalText([]byte("junk")); err == nil || p != mustPath(t, leaf) {
		t.Errorf("junk makes %v (%v)", p, err)
	}
}

// Paths sort as their base names do.
func TestCompare(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	var paths []store.StorePath
	for range 1000 {
		var digest [20]byte
		for i := range 3 { // few different ones
			digest[19-i] = byte(random.Uint32())
			digest[i] = byte(random.Uint32())
		}
		p, err := store.NewStorePath(digest, string("aZ0.?="[random.IntN(6)])+"a")
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	paths = append(paths, paths[:10]...)
	sorted := store.SortPaths(paths)
	if len(sorted) != 1000 {
		t.Errorf("%d paths, want 1000 (seed %d)", len(sorted), seed)
	}
	if !slices.IsSortedFunc(sorted, func(p, q store.StorePath) int { return strings.Compare(p.String(), q.String()) }) {
		t.Errorf("not sorted as text (seed %d)", seed)
	}
}

func FuzzParseStorePath(f *testing.F) {
	f.Add(leaf)
	f.Add(leaf[:33] + ".-x")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := store.ParseStorePath(s)
		if err == nil && p.String() != s {
			t.Fatalf("%q prints as %q", s, p)
		}
		if q, err2 := dir.Parse("/nix/store/" + s); (err == nil) != (err2 == nil) || p != q {
			t.Fatalf("%q: %v (%v) or %v (%v)", s, p, err, q, err2)
		}
	})
}
