package realiser

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"larder/nar"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

// fakeStore keeps path infos in memory and objects in a temporary directory.
type fakeStore struct {
	lock    func(ctx context.Context, paths []store.StorePath) error // called by Lock, if set
	objects string
	hasher  *derivation.Hasher

	mu           sync.Mutex // guards what follows
	infos        map[store.StorePath]*store.PathInfo
	drvs         map[store.StorePath]*derivation.Derivation
	temps        map[string]bool
	adds         map[store.StorePath]int // how often each path was registered
	realisations map[store.DrvOutput]store.Realisation
	roots        map[store.StorePath]int
	eager        bool // what loses its last temp root is deleted at once
}

func newFakeStore(t testing.TB) *fakeStore {
	s := &fakeStore{objects: t.TempDir(), infos: map[store.StorePath]*store.PathInfo{},
		drvs: map[store.StorePath]*derivation.Derivation{}, temps: map[string]bool{}, adds: map[store.StorePath]int{},
		realisations: map[store.DrvOutput]store.Realisation{}, roots: map[store.StorePath]int{}}
	s.hasher = derivation.NewHasher(store.DefaultDir, s.Derivation)
	return s
}

func (s *fakeStore) Dir() store.Dir                                  { return store.DefaultDir }
func (s *fakeStore) ObjectDir() string                               { return s.objects }
func (s *fakeStore) ObjectPath(p store.StorePath) string             { return filepath.Join(s.objects, p.String()) }
func (s *fakeStore) Canonicalise(context.Context, string, int) error { return nil }

func (s *fakeStore) Valid(_ context.Context, paths []store.StorePath) ([]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	valid := make([]bool, len(paths))
	for i, p := range paths {
		valid[i] = s.infos[p] != nil
	}
	return valid, nil
}

func (s *fakeStore) PathInfo(_ context.Context, p store.StorePath) (*store.PathInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.infos[p]; i != nil {
		return i, nil
	}
	return nil, store.ErrNotValid
}

func (s *fakeStore) Closure(_ context.Context, paths []store.StorePath) ([]store.StorePath, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[store.StorePath]bool{}
	for todo := slices.Clone(paths); len(todo) > 0; todo = todo[1:] {
		if seen[todo[0]] {
			continue
		}
		seen[todo[0]] = true
		info := s.infos[todo[0]]
		if info == nil {
			return nil, &store.PathError{Op: "closure of", Path: todo[0], Err: store.ErrNotValid}
		}
		todo = append(todo, info.References...)
	}
	var all []store.StorePath
	for p := range seen {
		all = append(all, p)
	}
	return store.SortPaths(all), nil
}

func (s *fakeStore) ValidDerivers(_ context.Context, p store.StorePath) ([]store.StorePath, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var derivers []store.StorePath
	for path, drv := range s.drvs {
		for _, o := range drv.Outputs {
			if o.Path == p {
				derivers = append(derivers, path)
			}
		}
	}
	return derivers, nil
}

func (s *fakeStore) Derivation(_ context.Context, p store.StorePath) (*derivation.Derivation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.drvs[p]; d != nil && s.infos[p] != nil {
		return d, nil
	}
	return nil, &store.PathError{Op: "read", Path: p, Err: store.ErrNotValid}
}

func (s *fakeStore) AddTempRoot(paths ...store.StorePath) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range paths {
		s.roots[p]++
	}
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range paths {
			if s.roots[p]--; s.roots[p] == 0 && s.eager && !p.IsDerivation() {
				s.collect(p)
			}
		}
	})
}

// rooted are the paths with temp roots.
func (s *fakeStore) rooted() (paths []store.StorePath) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, n := range s.roots {
		if n > 0 {
			paths = append(paths, p)
		}
	}
	return store.SortPaths(paths)
}

// collect makes p invalid, and forgets what it was a realisation of.
func (s *fakeStore) collect(p store.StorePath) {
	if s.infos[p] == nil {
		return
	}
	delete(s.infos, p)
	if err := os.RemoveAll(s.ObjectPath(p)); err != nil {
		panic(err)
	}
	for id, r := range s.realisations {
		if r.OutPath == p {
			delete(s.realisations, id)
		}
	}
}

func (s *fakeStore) Realisation(_ context.Context, id store.DrvOutput) (*store.Realisation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.realisations[id]; ok {
		return &r, nil
	}
	return nil, store.ErrNotFound
}

func (s *fakeStore) RegisterRealisation(_ context.Context, r *store.Realisation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.infos[r.OutPath] == nil {
		return &store.PathError{Op: "register realisation", Path: r.OutPath, Err: store.ErrNotValid}
	}
	s.realisations[r.ID] = *r
	return nil
}

func (s *fakeStore) AddDerivation(_ context.Context, d *derivation.Derivation) (store.StorePath, error) {
	p, err := d.Path(store.DefaultDir)
	if err != nil {
		return p, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drvs[p] = d
	s.infos[p] = &store.PathInfo{Path: p}
	return p, nil
}

func (s *fakeStore) NewTemp(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := fmt.Sprintf(".larder-tmp-%d", len(s.temps)+1)
	s.temps[name] = true
	return name, nil
}

func (s *fakeStore) DropTemp(name string) error { return os.RemoveAll(filepath.Join(s.objects, name)) }

func (s *fakeStore) Lock(ctx context.Context, paths ...store.StorePath) (func(), error) {
	if s.lock != nil {
		if err := s.lock(ctx, paths); err != nil {
			return nil, err
		}
	}
	return func() {}, ctx.Err()
}

func (s *fakeStore) Register(_ context.Context, adds ...store.Addition) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := map[store.StorePath]bool{}
	for _, a := range adds {
		own[a.Info.Path] = true
	}
	for _, a := range adds {
		for _, ref := range a.Info.References {
			if !own[ref] && s.infos[ref] == nil {
				return &store.PathError{Op: "register", Path: ref, Err: store.ErrNotValid}
			}
		}
	}
	for _, a := range adds {
		if err := os.Rename(filepath.Join(s.objects, a.Temp), s.ObjectPath(a.Info.Path)); err != nil {
			return err
		}
		s.infos[a.Info.Path] = a.Info
		s.adds[a.Info.Path]++
	}
	return nil
}

func (s *fakeStore) isValid(p store.StorePath) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.infos[p] != nil
}

// registered is how often p was registered.
func (s *fakeStore) registered(p store.StorePath) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.adds[p]
}

// drv registers a derivation with one output; change may alter it first.
func (s *fakeStore) drv(t testing.TB, name string, inputs []store.StorePath, change ...func(*derivation.Derivation)) (drvPath, out store.StorePath) {
	t.Helper()
	d := &derivation.Derivation{Name: name, System: "x86_64-linux", Builder: "/bin/sh", InputDrvs: map[store.StorePath][]string{},
		Outputs: map[string]derivation.Output{"out": {}}, Env: map[string]string{"name": name}}
	for _, in := range inputs {
		d.InputDrvs[in] = []string{"out"}
	}
	for _, c := range change {
		c(d)
	}
	if err := s.hasher.Fill(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	p, err := d.Path(store.DefaultDir)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drvs[p] = d
	s.infos[p] = &store.PathInfo{Path: p, References: d.References()}
	return p, d.Outputs["out"].Path
}

// leftovers are the names in the object directory that are not valid paths.
func (s *fakeStore) leftovers(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(s.objects)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []string
	for _, e := range entries {
		if p, err := store.ParseStorePath(e.Name()); err != nil || s.infos[p] == nil {
			left = append(left, e.Name())
		}
	}
	return left
}

// fakeSandbox runs a function as builder and watches how many run at once.
type fakeSandbox struct {
	// build makes outputs; nil: makeOutputs.
	build func(ctx context.Context, name string, spec *sandbox.Spec, log io.Writer) (*sandbox.Result, error)

	mu      sync.Mutex // guards what follows
	running int
	most    int
	runs    map[string]int // by the derivation's name
}

func (f *fakeSandbox) Run(ctx context.Context, spec *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
	name := specEnv(spec, "name")
	f.mu.Lock()
	if f.runs == nil {
		f.runs = map[string]int{}
	}
	f.runs[name]++
	f.running++
	f.most = max(f.most, f.running)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.running--
		f.mu.Unlock()
	}()
	if f.build != nil {
		return f.build(ctx, name, spec, log)
	}
	return makeOutputs(spec)
}

func (f *fakeSandbox) count(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.runs[name]
}

func specEnv(spec *sandbox.Spec, name string) string {
	for _, e := range spec.Env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

// makeOutputs makes "out" a file that refers to all inputs.
func makeOutputs(spec *sandbox.Spec) (*sandbox.Result, error) {
	return &sandbox.Result{}, writeOutput(spec, "out")
}

func writeOutput(spec *sandbox.Spec, output string) error {
	text := specEnv(spec, "name") + "\n"
	for _, m := range spec.Mounts {
		text += m.Target + "\n"
	}
	return os.WriteFile(filepath.Join(spec.BuildStore, filepath.Base(specEnv(spec, output))), []byte(text), 0o444)
}

func exit(code int) (*sandbox.Result, error) { return &sandbox.Result{ExitCode: code}, nil }

// fakeCache is a substituter that is told what to answer.
type fakeCache struct {
	name     string
	priority int
	nars     map[store.StorePath][]byte
	infos    map[store.StorePath]*store.NarInfo
	fail     error // what every narinfo query gives, if set
	// before is called before a NAR is delivered.
	before func(ctx context.Context, p store.StorePath) error

	mu      sync.Mutex // guards what follows
	queries map[store.StorePath]int
	fetches []store.StorePath
}

func newFakeCache(name string, priority int) *fakeCache {
	return &fakeCache{name: name, priority: priority, nars: map[store.StorePath][]byte{},
		infos: map[store.StorePath]*store.NarInfo{}, queries: map[store.StorePath]int{}}
}

// add puts a path with one file in it into the cache.
func (c *fakeCache) add(t testing.TB, p store.StorePath, refs ...store.StorePath) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte(p.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := nar.Dump(t.Context(), &b, file); err != nil {
		t.Fatal(err)
	}
	c.nars[p] = b.Bytes()
	c.infos[p] = &store.NarInfo{PathInfo: store.PathInfo{Path: p, NarHash: store.SHA256.Sum(b.Bytes()), NarSize: uint64(b.Len()), References: refs}}
}

func (c *fakeCache) String() string               { return c.name }
func (c *fakeCache) Priority(context.Context) int { return c.priority }

func (c *fakeCache) NarInfo(_ context.Context, p store.StorePath) (*store.NarInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queries[p]++
	if c.fail != nil {
		return nil, c.fail
	}
	if i := c.infos[p]; i != nil {
		return i, nil
	}
	return nil, store.ErrNotFound
}

func (c *fakeCache) NAR(ctx context.Context, n *store.NarInfo) (io.ReadCloser, error) {
	if c.before != nil {
		if err := c.before(ctx, n.Path); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetches = append(c.fetches, n.Path)
	return io.NopCloser(bytes.NewReader(c.nars[n.Path])), nil
}

func (c *fakeCache) queried(p store.StorePath) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queries[p]
}

// lab is a Realiser with fakes around it.
type lab struct {
	*Realiser
	store   *fakeStore
	sandbox *fakeSandbox
	scratch string
}

func newLab(t testing.TB, change func(*Options)) *lab {
	t.Helper()
	l := &lab{store: newFakeStore(t), sandbox: &fakeSandbox{}, scratch: filepath.Join(t.TempDir(), "build")}
	o := Options{Store: l.store, Sandbox: l.sandbox, BuildDir: l.scratch, LogDir: t.TempDir(), System: "x86_64-linux", MaxJobs: 4,
		Grace: -1, FailureTTL: -1}
	if change != nil {
		change(&o)
	}
	var err error
	if l.Realiser, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		if s := l.Status(); len(s.Goals) > 0 || s.Builds.Used+s.Builds.Queued+s.Downloads.Used+s.Downloads.Queued+s.Queries.Used > 0 {
			t.Errorf("after Close: %+v", s)
		}
		if left := l.store.leftovers(t); len(left) > 0 {
			t.Errorf("left in the object directory: %v", left)
		}
		if left := l.store.rooted(); len(left) > 0 {
			t.Errorf("temp roots are left: %v", left)
		}
		if left, err := os.ReadDir(l.scratch); err != nil || len(left) > 0 {
			t.Errorf("left in the build directory: %v %v", left, err)
		}
	})
	return l
}

// realise is Realise on behalf of nobody in particular.
func (l *lab) realise(ctx context.Context, p store.StorePath) error {
	return l.Realise(ctx, store.Caller{UID: 1, PID: 1}, p)
}

// build builds all outputs of derivations and returns the results.
func (l *lab) build(t testing.TB, keepGoing bool, drvs ...store.StorePath) []BuildResult {
	t.Helper()
	req := Request{KeepGoing: keepGoing}
	for _, d := range drvs {
		req.Targets = append(req.Targets, Target{Drv: d})
	}
	o, err := l.Build(t.Context(), store.Caller{}, req)
	if err != nil {
		t.Fatal(err)
	}
	return o.Results
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
