package local_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"larder/store"
	"larder/store/local"
)

// seedVariable repeats a failed run of TestModel.
const seedVariable = "LARDER_TEST_SEED"

// model is what a store should be, in memory.
type model struct {
	refs  map[string][]string // of each valid path
	roots map[string]string   // link -> name
	temps map[string]func()   // name -> release
}

func (m *model) live() map[string]bool {
	live := map[string]bool{}
	var visit func(string)
	visit = func(n string) {
		if refs, ok := m.refs[n]; ok && !live[n] {
			live[n] = true
			for _, r := range refs {
				visit(r)
			}
		}
	}
	for _, n := range m.roots {
		visit(n)
	}
	for n := range m.temps {
		visit(n)
	}
	return live
}

func (m *model) closure(n string) map[string]bool {
	c := &model{refs: m.refs, roots: map[string]string{"": n}}
	return c.live()
}

// TestModel does random things to a store and to a model and compares them.
func TestModel(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		check(t, err)
	}
	t.Logf("repeat with %s=%d go test -run TestModel ./store/local", seedVariable, seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	f := newFixture(t, quiet)
	m := &model{refs: map[string][]string{}, roots: map[string]string{}, temps: map[string]func(){}}
	for range 400 {
		m.step(f, rnd)
		if t.Failed() {
			return
		}
	}
	m.compare(f)
}

func (m *model) step(f *fixture, rnd *rand.Rand) {
	ctx := context.Background()
	any := func() string { return fmt.Sprint("n", rnd.IntN(40)) }
	switch rnd.IntN(12) {
	case 0, 1, 2, 3:
		m.register(f, rnd, any)
	case 4:
		n := any()
		if m.temps[n] == nil {
			m.temps[n] = f.AddTempRoot(path(n))
		}
	case 5:
		for _, n := range slices.Sorted(maps.Keys(m.temps)) {
			m.temps[n]()
			delete(m.temps, n)
			break
		}
	case 6:
		n, link := any(), filepath.Join(f.StateDir(), "gcroots", fmt.Sprint("root", rnd.IntN(5)))
		err := f.AddPermanentRoot(ctx, link, path(n))
		if _, ok := m.refs[n]; !ok {
			if !errors.Is(err, store.ErrNotValid) {
				f.t.Errorf("root of an invalid path: %v", err)
			}
			return
		}
		check(f.t, err)
		m.roots[link] = n
	case 7:
		for _, link := range slices.Sorted(maps.Keys(m.roots)) {
			check(f.t, os.Remove(link))
			delete(m.roots, link)
			break
		}
	case 8:
		live := m.live()
		_, err := f.GC(ctx, local.GCOptions{})
		check(f.t, err)
		maps.DeleteFunc(m.refs, func(n string, _ []string) bool { return !live[n] })
		m.compare(f)
	case 9:
		m.deleteOne(f, any())
	case 10:
		for n, release := range m.temps {
			release()
			delete(m.temps, n)
		}
		f.reopen()
		m.compare(f)
	case 11:
		n := any()
		if _, ok := m.refs[n]; ok {
			got, err := f.Closure(ctx, paths(n))
			check(f.t, err)
			want := m.closure(n)
			for i, p := range got {
				if !want[p.Name()] {
					f.t.Errorf("closure of %s has %s", n, p)
				}
				for _, r := range m.refs[p.Name()] {
					if r != p.Name() && !slices.Contains(got[:i], path(r)) {
						f.t.Errorf("closure of %s: %s comes before its reference %s", n, p, r)
					}
				}
			}
			if len(got) != len(want) {
				f.t.Errorf("closure of %s has %d paths, expected %d", n, len(got), len(want))
			}
		}
	}
}

func (m *model) register(f *fixture, rnd *rand.Rand, any func() string) {
	var adds []store.Addition
	added := map[string][]string{}
	valid := true
	for range 1 + rnd.IntN(3) {
		n := any()
		if added[n] != nil {
			continue
		}
		refs := []string{}
		for range rnd.IntN(4) {
			r := any()
			if _, ok := m.refs[r]; !ok && rnd.IntN(8) > 0 {
				continue
			}
			if _, ok := m.refs[n]; ok && added[r] != nil {
				continue // its new references count for nothing, but not for the check for cycles
			}
			refs = append(refs, r)
		}
		added[n] = refs
		adds = append(adds, f.object(n, refs...))
	}
	for n, refs := range added {
		if _, ok := m.refs[n]; ok {
			continue
		}
		for _, r := range refs {
			if _, ok := m.refs[r]; !ok && added[r] == nil {
				valid = false
			}
		}
	}
	err := f.Register(context.Background(), adds...)
	var circle *local.CycleError
	if errors.As(err, &circle) {
		for i, p := range circle.Paths[1:] {
			if !slices.Contains(added[circle.Paths[i].Name()], p.Name()) {
				f.t.Errorf("no such circle: %v", err)
			}
		}
		return
	}
	if (err == nil) != valid {
		f.t.Errorf("registering %v: %v", added, err)
	}
	if err == nil {
		for n, refs := range added {
			if _, ok := m.refs[n]; !ok {
				m.refs[n] = refs
			}
		}
	}
}

func (m *model) deleteOne(f *fixture, n string) {
	_, err := f.Delete(context.Background(), path(n))
	var alive *local.AliveError
	switch _, valid := m.refs[n]; {
	case !valid:
		if !errors.Is(err, store.ErrNotValid) {
			f.t.Errorf("deleting an invalid path: %v", err)
		}
	case m.live()[n]:
		if !errors.As(err, &alive) {
			f.t.Errorf("deleting a live path: %v", err)
		}
	default:
		check(f.t, err)
		var gone []string
		for other := range m.refs {
			if m.closure(other)[n] {
				gone = append(gone, other)
			}
		}
		for _, g := range gone {
			delete(m.refs, g)
		}
	}
}

func (m *model) compare(f *fixture) {
	f.t.Helper()
	f.checkWhole()
	count := 0
	for p, err := range f.AllValid(context.Background()) {
		check(f.t, err)
		count++
		want, ok := m.refs[p.Name()]
		if !ok {
			f.t.Errorf("%s is valid and should not be", p)
			continue
		}
		info, err := f.PathInfo(context.Background(), p)
		check(f.t, err)
		if !slices.Equal(info.References, store.SortPaths(paths(want...))) {
			f.t.Errorf("%s refers to%s, expected %v", p, names(info.References), want)
		}
	}
	if count != len(m.refs) {
		f.t.Errorf("%d paths are valid, expected %d", count, len(m.refs))
	}
}
