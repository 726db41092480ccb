package realiser

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"larder/sandbox"
	"larder/store"
)

// graphLab is a lab whose fakes watch that a model's graph is built as it should be.
type graphLab struct {
	*lab
	*model
	t      *testing.T
	strict *strictStore
	cache  *busyCache

	// during is called while a builder runs, if set.
	during func(ctx context.Context, x *node) error

	mu    sync.Mutex // guards what follows, and node.building
	order []*node    // whose builders ran
}

func newGraphLab(t *testing.T, n int, mix recipe, change func(*Options)) *graphLab {
	t.Helper()
	g := &graphLab{t: t}
	g.cache = &busyCache{fakeCache: newFakeCache("cache", 1), t: t, most: 2}
	g.lab = newLab(t, func(o *Options) {
		g.strict = newStrictStore(t, o.Store.(*fakeStore))
		o.Store = g.strict
		o.MaxJobs, o.MaxSubstitutionJobs = 3, g.cache.most
		o.Substituters = []Substituter{g.cache}
		o.NoBuildLogs = true
		if change != nil {
			change(o)
		}
	})
	g.lab.sandbox.build = g.build
	g.model = newModel(t, g.lab.store, g.cache.fakeCache, n, mix)
	return g
}

// build is the builder of all nodes: it makes all outputs, which refer to what the model says.
func (g *graphLab) build(ctx context.Context, name string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
	x := g.named[name]
	g.begin(x)
	defer g.end(x)
	if !slices.ContainsFunc(x.outputNames(), func(o string) bool { return x.unknown || !g.lab.store.isValid(x.outputs[o]) }) {
		g.t.Errorf("%s is built, although all its outputs are valid", name)
	}
	inputs := strings.Fields(specEnv(spec, "inputs"))
	if len(inputs) != len(x.inputs) {
		g.t.Errorf("%s has the inputs %q", name, inputs)
	}
	for _, in := range inputs {
		p, err := store.DefaultDir.Parse(in)
		if err != nil || !g.lab.store.isValid(p) {
			g.t.Errorf("%s is built before its input %s is valid (%v)", name, in, err)
		}
		if !slices.ContainsFunc(spec.Mounts, func(m sandbox.Mount) bool { return m.Target == in }) {
			g.t.Errorf("%s does not see its input %s", name, in)
		}
	}
	runtime.Gosched()
	if g.during != nil {
		if err := g.during(ctx, x); err != nil {
			return nil, err
		}
	}
	if x.fails {
		return exit(1)
	}
	for _, output := range x.outputNames() {
		text := name + " " + output + "\n"
		for i, in := range inputs {
			if x.refers[i] {
				text += in + "\n"
			}
		}
		if err := os.WriteFile(filepath.Join(spec.BuildStore, filepath.Base(specEnv(spec, output))), []byte(text), 0o444); err != nil {
			return nil, err
		}
	}
	return &sandbox.Result{}, nil
}

func (g *graphLab) begin(x *node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if x.building {
		g.t.Errorf("%s is being built twice at once", x.name)
	}
	x.building = true
	g.order = append(g.order, x)
}

func (g *graphLab) end(x *node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	x.building = false
}

// started is how many builders have been started.
func (g *graphLab) started() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.order)
}

// checkRuns compares the builders that ran, each once, with those that should have.
func (g *graphLab) checkRuns(want map[*node]bool) {
	g.t.Helper()
	for _, x := range g.nodes {
		if n := g.lab.sandbox.count(x.name); n > 1 || (n == 1) != want[x] {
			g.t.Errorf("%s was built %d times, expected: %v (cached %v)", x.name, n, want[x], x.cached)
		}
	}
}

// checkIdle waits until no goal is left, and checks that nothing else is: no builder, slot, lock, temporary name, root.
func (g *graphLab) checkIdle() {
	g.t.Helper()
	eventually(g.t, "no goal is left, and no slot is used", func() bool {
		s := g.Status()
		g.graph.mu.Lock()
		defer g.graph.mu.Unlock()
		return len(s.Goals)+len(g.graph.dying) == 0 && s.Builds.Used+s.Builds.Queued+s.Downloads.Used+s.Downloads.Queued+s.Queries.Used+s.Queries.Queued == 0
	})
	g.graph.running.Wait()
	g.lab.sandbox.mu.Lock()
	if g.lab.sandbox.running > 0 || g.lab.sandbox.most > g.builds.capacity {
		g.t.Errorf("%d builders run, at most %d did", g.lab.sandbox.running, g.lab.sandbox.most)
	}
	g.lab.sandbox.mu.Unlock()
	g.strict.checkIdle()
	if left := g.lab.store.leftovers(g.t); len(left) > 0 {
		g.t.Errorf("left in the object directory: %v", left)
	}
	if left, err := os.ReadDir(g.scratch); err != nil || len(left) > 0 {
		g.t.Errorf("left in the build directory: %v %v", left, err)
	}
	if c := g.Status().Counts; c.Builds.Running != 0 || c.Substitutions.Running != 0 || c.Builds.Expected != c.Builds.Done+c.Builds.Failed {
		g.t.Errorf("counts when all is over: %+v", c)
	}
}

// request asks for targets on behalf of nobody in particular.
func (g *graphLab) request(ctx context.Context, keepGoing bool, targets ...Target) (*Outcome, error) {
	return g.Build(ctx, store.Caller{}, Request{Targets: targets, KeepGoing: keepGoing})
}

// complete builds everything, after whatever has happened before.
func (g *graphLab) complete() {
	g.t.Helper()
	var targets []Target
	for _, x := range g.nodes {
		targets = append(targets, x.target())
	}
	o, err := g.request(g.t.Context(), false, targets...)
	if err == nil {
		err = o.Err()
	}
	if err != nil {
		g.t.Fatal(err)
	}
	for i, x := range g.nodes {
		for _, name := range x.outputNames() {
			p := o.Results[i].Outputs[name]
			n := g.lab.store.registered(p)
			if once := n == 1 || n > 1 && x.unknown; !once || !g.lab.store.isValid(p) { // what was made is found again by its realisation only
				g.t.Errorf("output %s of %s is %s, registered %d times", name, x.name, p, n)
			}
		}
	}
}

// busyCache is a fakeCache that counts downloads at once.
type busyCache struct {
	*fakeCache
	t    *testing.T
	most int

	mu      sync.Mutex // guards running
	running int
}

func (c *busyCache) NAR(ctx context.Context, n *store.NarInfo) (io.ReadCloser, error) {
	c.change(1)
	body, err := c.fakeCache.NAR(ctx, n)
	if err != nil {
		c.change(-1)
		return nil, err
	}
	runtime.Gosched()
	return &busyBody{body, sync.OnceFunc(func() { c.change(-1) })}, nil
}

func (c *busyCache) change(by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running += by; c.running > c.most {
		c.t.Errorf("%d downloads at once", c.running)
	}
}

type busyBody struct {
	io.ReadCloser
	done func()
}

func (b *busyBody) Close() error {
	b.done()
	return b.ReadCloser.Close()
}

// strictStore is a fakeStore that keeps others out as a real one does, knows what
// is held, and can be made to fail.
type strictStore struct {
	*fakeStore
	t testing.TB
	// fail is asked before each operation, if set.
	fail func(operation string) error

	mu    sync.Mutex // guards what follows
	locks map[store.StorePath]chan struct{}
	temps map[string]bool
}

func newStrictStore(t testing.TB, s *fakeStore) *strictStore {
	return &strictStore{fakeStore: s, t: t, locks: map[store.StorePath]chan struct{}{}, temps: map[string]bool{}}
}

func (s *strictStore) failure(operation string) error {
	if s.fail == nil {
		return nil
	}
	return s.fail(operation)
}

func (s *strictStore) Lock(ctx context.Context, paths ...store.StorePath) (func(), error) {
	if err := s.failure("lock"); err != nil {
		return nil, err
	}
	for {
		busy := s.tryLock(paths)
		if busy == nil {
			return sync.OnceFunc(func() { s.unlock(paths) }), nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// tryLock locks all paths, or returns what to wait for.
func (s *strictStore) tryLock(paths []store.StorePath) (busy chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range paths {
		if busy := s.locks[p]; busy != nil {
			return busy
		}
	}
	for _, p := range paths {
		s.locks[p] = make(chan struct{})
	}
	return nil
}

func (s *strictStore) unlock(paths []store.StorePath) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range paths {
		if busy := s.locks[p]; busy != nil {
			close(busy)
			delete(s.locks, p)
		}
	}
}

func (s *strictStore) NewTemp(ctx context.Context) (string, error) {
	if err := s.failure("temporary name"); err != nil {
		return "", err
	}
	name, err := s.fakeStore.NewTemp(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.temps[name] = true
	return name, err
}

func (s *strictStore) DropTemp(name string) error {
	s.forget(name)
	return s.fakeStore.DropTemp(name)
}

func (s *strictStore) forget(temp string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.temps[temp] {
		s.t.Errorf("%s is not a temporary name that is in use", temp)
	}
	delete(s.temps, temp)
}

func (s *strictStore) Register(ctx context.Context, adds ...store.Addition) error {
	if err := s.failure("register"); err != nil {
		return err
	}
	for _, a := range adds {
		s.mu.Lock()
		locked := s.locks[a.Info.Path] != nil
		s.mu.Unlock()
		if !locked && a.Info.CA.IsZero() {
			s.t.Errorf("%s is registered without its lock", a.Info.Path)
		}
	}
	err := s.fakeStore.Register(ctx, adds...)
	for _, a := range adds {
		if err == nil {
			s.forget(a.Temp)
		}
	}
	return err
}

func (s *strictStore) Valid(ctx context.Context, paths []store.StorePath) ([]bool, error) {
	if err := s.failure("valid"); err != nil {
		return nil, err
	}
	return s.fakeStore.Valid(ctx, paths)
}

func (s *strictStore) PathInfo(ctx context.Context, p store.StorePath) (*store.PathInfo, error) {
	if err := s.failure("path info"); err != nil {
		return nil, err
	}
	return s.fakeStore.PathInfo(ctx, p)
}

func (s *strictStore) RegisterRealisation(ctx context.Context, r *store.Realisation) error {
	if err := s.failure("register realisation"); err != nil {
		return err
	}
	return s.fakeStore.RegisterRealisation(ctx, r)
}

// checkIdle checks that nothing is held.
func (s *strictStore) checkIdle() {
	s.t.Helper()
	s.mu.Lock()
	if len(s.locks)+len(s.temps) > 0 {
		s.t.Errorf("still locked: %d paths, temporary names: %v", len(s.locks), s.temps)
	}
	s.mu.Unlock()
	s.fakeStore.mu.Lock()
	defer s.fakeStore.mu.Unlock()
	for p, n := range s.roots {
		if n != 0 {
			s.t.Errorf("%s still has %d temporary roots", p, n)
		}
	}
}
