package fusefs

import (
	"context"
	"crypto/sha256"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"larder/store"
)

// fakeStore is Objects and Realiser in memory, with objects on disk.
type fakeStore struct {
	dir string // of objects

	mu       sync.Mutex // guards what follows
	next     uint32
	numbers  map[store.StorePath]uint32
	paths    map[uint32]store.StorePath
	present  map[store.StorePath]bool
	released []store.StorePath
	recipes  map[store.StorePath]func(ctx context.Context) error
	goals    map[store.StorePath]*goal
	calls    []store.Caller // of Realise
	started  int            // goals
}

// goal is one realisation that all who want the same path wait for. The last
// one who leaves cancels it.
type goal struct {
	waiting int
	cancel  context.CancelFunc
	done    chan struct{}
	err     error
}

func newFakeStore(t testing.TB) *fakeStore {
	return &fakeStore{
		dir:     t.TempDir(),
		numbers: map[store.StorePath]uint32{},
		paths:   map[uint32]store.StorePath{},
		present: map[store.StorePath]bool{},
		recipes: map[store.StorePath]func(context.Context) error{},
		goals:   map[store.StorePath]*goal{},
	}
}

// storePath makes a path whose digest depends on its name.
func storePath(name string) store.StorePath {
	sum := sha256.Sum256([]byte(name))
	p, err := store.NewStorePath([20]byte(sum[:20]), name)
	if err != nil {
		panic(err)
	}
	return p
}

func (s *fakeStore) Dir() store.Dir    { return store.DefaultDir }
func (s *fakeStore) ObjectDir() string { return s.dir }

func (s *fakeStore) Number(p store.StorePath) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.numbers[p]; ok {
		return n, nil
	}
	s.next++
	s.numbers[p], s.paths[s.next] = s.next, p
	return s.next, nil
}

func (s *fakeStore) PathOf(n uint32) (store.StorePath, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.paths[n]
	return p, ok
}

func (s *fakeStore) ReleaseNumber(n uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.paths[n]; ok && !s.present[p] {
		s.released = append(s.released, p)
		delete(s.paths, n)
		delete(s.numbers, p)
	}
}

func (s *fakeStore) IsPresent(p store.StorePath) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present[p]
}

func (s *fakeStore) AllValid(ctx context.Context) iter.Seq2[store.StorePath, error] {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []store.StorePath
	for p, ok := range s.present {
		if ok {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, store.StorePath.Compare)
	return func(yield func(store.StorePath, error) bool) {
		for _, p := range list {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func (s *fakeStore) Realise(ctx context.Context, who store.Caller, p store.StorePath) error {
	s.mu.Lock()
	s.calls = append(s.calls, who)
	s.mu.Unlock()
	for {
		// A goal that its last waiter cancelled is not for those who came after.
		if err := s.join(ctx, p); !errors.Is(err, context.Canceled) || ctx.Err() != nil {
			return err
		}
	}
}

func (s *fakeStore) join(ctx context.Context, p store.StorePath) error {
	s.mu.Lock()
	if s.present[p] {
		s.mu.Unlock()
		return nil
	}
	g := s.goals[p]
	if g == nil {
		recipe := s.recipes[p]
		if recipe == nil {
			s.mu.Unlock()
			return &store.PathError{Op: "realise", Path: p, Err: store.ErrNotFound}
		}
		gctx, cancel := context.WithCancel(context.Background())
		g = &goal{cancel: cancel, done: make(chan struct{})}
		s.goals[p] = g
		s.started++
		go s.work(gctx, p, g, recipe)
	}
	g.waiting++
	s.mu.Unlock()

	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		if g.waiting--; g.waiting == 0 {
			g.cancel()
		}
		return ctx.Err()
	}
}

func (s *fakeStore) work(ctx context.Context, p store.StorePath, g *goal, recipe func(context.Context) error) {
	g.err = recipe(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.present[p] = g.err == nil
	delete(s.goals, p)
	close(g.done)
}

// waiters is how many wait for a path.
func (s *fakeStore) waiters(p store.StorePath) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.goals[p]; g != nil {
		return g.waiting
	}
	return 0
}

// arrived says that an object is complete.
func (s *fakeStore) arrived(p store.StorePath) {
	s.Number(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.present[p] = true
}

// deleted removes an object.
func (s *fakeStore) deleted(t testing.TB, p store.StorePath) {
	s.mu.Lock()
	delete(s.present, p)
	s.mu.Unlock()
	if err := os.RemoveAll(filepath.Join(s.dir, p.String())); err != nil {
		t.Fatal(err)
	}
}

// tree is what an object is made of: a path below it ("" for itself) to contents;
// "/" at the end is a directory, "->target" as contents a symlink, "#!" at the
// beginning makes it executable.
type tree map[string]string

func (s *fakeStore) write(p store.StorePath, tr tree) error {
	root := filepath.Join(s.dir, p.String())
	for name, content := range tr {
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		var err error
		switch {
		case name != "" && name[len(name)-1] == '/':
			err = os.MkdirAll(at, 0o755)
		case len(content) > 2 && content[:2] == "->":
			err = os.Symlink(content[2:], at)
		case len(content) > 2 && content[:2] == "#!" || len(content) > 4 && content[:4] == "\x7fELF":
			err = os.WriteFile(at, []byte(content), 0o555)
		default:
			err = os.WriteFile(at, []byte(content), 0o444)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// add puts an object there.
func (s *fakeStore) add(t testing.TB, name string, tr tree) store.StorePath {
	t.Helper()
	p := storePath(name)
	if err := s.write(p, tr); err != nil {
		t.Fatal(err)
	}
	s.arrived(p)
	return p
}

// plan makes an absent path realisable: once open is closed, it comes.
func (s *fakeStore) plan(name string, open <-chan struct{}, tr tree) store.StorePath {
	p := storePath(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recipes[p] = func(ctx context.Context) error {
		select {
		case <-open:
			return s.write(p, tr)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return p
}

// planFailure makes an absent path fail.
func (s *fakeStore) planFailure(name string) store.StorePath {
	return s.planError(name, errors.New("the cache is down"))
}

// planError makes an absent path fail with an error.
func (s *fakeStore) planError(name string, err error) store.StorePath {
	p := storePath(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recipes[p] = func(context.Context) error { return err }
	return p
}

func (s *fakeStore) goalsStarted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started
}

// takeCalls returns who called Realise since the last time.
func (s *fakeStore) takeCalls() []store.Caller {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}
