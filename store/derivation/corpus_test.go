package derivation_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
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
			c[fullPath(t, "/nix/store/"+base)] = f.Data
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

func (c corpus) paths() []store.StorePath {
	return slices.SortedFunc(maps.Keys(c), store.StorePath.Compare)
}

// check parses every derivation, prints it back, and checks its own path and
// its outputs' paths. Several goroutines share the Hasher.
func (c corpus) check(t *testing.T, h *derivation.Hasher) {
	t.Helper()
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
	for _, p := range c.paths() {
		work <- p
	}
	close(work)
	workers.Wait()
}

func fullPath(t testing.TB, s string) store.StorePath {
	t.Helper()
	p, err := dir.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func joinPaths(paths []store.StorePath) string {
	var s []string
	for _, p := range paths {
		s = append(s, dir.Join(p))
	}
	return strings.Join(s, " ")
}

// mustParse parses a derivation that the test wrote itself.
func mustParse(t testing.TB, name, text string) *derivation.Derivation {
	t.Helper()
	drv, err := derivation.Parse(dir, name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return drv
}
