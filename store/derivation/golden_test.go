package derivation_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"larder/store"
	"larder/store/derivation"
	"larder/test/fixture"
)

const dir = store.DefaultDir

// corpus is a set of .drv files by store path.
type corpus map[store.StorePath][]byte

func readCorpus(t testing.TB, name string) corpus {
	t.Helper()
	c := corpus{}
	for base, f := range fixture.Open(t, name) {
		if strings.HasSuffix(base, ".drv") {
			c[basePath(t, base)] = f.Data
		}
	}
	return c
}

// read is what a Hasher needs.
func (c corpus) read(_ context.Context, p store.StorePath) (*derivation.Derivation, error) {
	text, ok := c[p]
	if !ok {
		return nil, fmt.Errorf("%s: %w", p, store.ErrNotFound)
	}
	return derivation.Parse(dir, strings.TrimSuffix(p.Name(), ".drv"), text)
}

func basePath(t testing.TB, base string) store.StorePath {
	t.Helper()
	p, err := store.ParseStorePath(base)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func fullPath(t testing.TB, s string) store.StorePath {
	t.Helper()
	p, err := dir.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// checkCorpus parses every derivation, prints it back, and checks its own path
// and its outputs' paths. It shares one Hasher among several goroutines.
func checkCorpus(t *testing.T, c corpus) {
	t.Helper()
	h := derivation.NewHasher(dir, c.read)
	work := make(chan store.StorePath)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for p := range work {
				drv, err := c.read(t.Context(), p)
				if err != nil {
					t.Error(err)
					continue
				}
				if got := drv.ATerm(dir); !bytes.Equal(got, c[p]) {
					t.Errorf("%s: printed as\n%s\nwant\n%s", p, got, c[p])
				}
				if err := h.Check(t.Context(), p, drv); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, p := range slices.SortedFunc(maps.Keys(c), store.StorePath.Compare) {
		work <- p
	}
	close(work)
	workers.Wait()
}

func TestGraphs(t *testing.T) {
	t.Parallel()
	folder := fixture.Graphs(t)
	c := readCorpus(t, filepath.Join(folder, "corepkgs-drvs.tar.zst"))
	if len(c) != 25107 {
		t.Fatalf("%d derivations, want 25107", len(c))
	}
	checkCorpus(t, c)
	h := derivation.NewHasher(dir, c.read)
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

func joinPaths(paths []store.StorePath) string {
	var s []string
	for _, p := range paths {
		s = append(s, dir.Join(p))
	}
	return strings.Join(s, " ")
}

func TestCases(t *testing.T) {
	t.Parallel()
	checkCorpus(t, readCorpus(t, "derivations/drvs.tar.zst"))
}
