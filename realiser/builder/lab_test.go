package builder_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"larder/realiser/builder"
	"larder/realiser/result"
	"larder/realiser/userpool"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
	"larder/store/local"
)

// lab builds with a Go function for a builder and a real store.
type lab struct {
	t       *testing.T
	store   *local.Store
	builder *builder.Builder
	make    func(at map[string]place) error
	outputs map[string]store.StorePath
	inputs  []store.StorePath
	absent  []string // nil: all outputs are
}

// place is where a builder makes an output: the file, and what the builder calls it.
type place struct{ file, path string }

func (p place) write(text string) error { return os.WriteFile(p.file, []byte(text), 0o644) }

func newLab(t *testing.T, change func(*builder.Options)) *lab {
	t.Helper()
	base := t.TempDir()
	s, err := local.Open(t.Context(), local.Options{StoreDir: store.DefaultDir, ObjectDir: filepath.Join(base, "store"),
		StateDir: filepath.Join(base, "state"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	users, err := userpool.New(userpool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, store: s}
	o := builder.Options{Store: s, Sandbox: l, Cores: 1, BuildDir: filepath.Join(base, "build"), SandboxBuildDir: "/build", Users: users,
		Getenv: func(string) (string, bool) { return "", false }, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	if l.builder, err = builder.New(o); err != nil {
		t.Fatal(err)
	}
	return l
}

// Run is the sandbox.
func (l *lab) Run(_ context.Context, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
	at := map[string]place{}
	for name, p := range l.outputs {
		at[name] = place{filepath.Join(spec.BuildStore, p.String()), store.DefaultDir.Join(p)}
	}
	return &sandbox.Result{}, l.make(at)
}

// floating is a derivation whose outputs are hashed so.
func floating(m store.Method, a store.HashAlgo, outputs ...string) *derivation.Derivation {
	return withOutputs(derivation.Output{Method: m, HashAlgo: a}, outputs...)
}

func withOutputs(o derivation.Output, outputs ...string) *derivation.Derivation {
	d := &derivation.Derivation{Name: "x", System: "x86_64-linux", Builder: "/bin/sh", Env: map[string]string{}, Outputs: map[string]derivation.Output{}}
	for _, name := range outputs {
		d.Outputs[name] = o
	}
	return d
}

// made is where the builder makes an output.
func made(t *testing.T, drv *derivation.Derivation, output string) store.StorePath {
	t.Helper()
	if p := drv.Outputs[output].Path; !p.IsZero() {
		return p
	}
	p, err := store.DefaultDir.MakePath("rewrite:test:"+output, store.SHA256.Sum(nil), store.OutputPathName(drv.Name, output))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// build runs make as the builder of drv, and registers what it made.
func (l *lab) build(drv *derivation.Derivation, make func(at map[string]place) error) (map[string]*store.PathInfo, error) {
	l.t.Helper()
	asks, err := drv.Options()
	if err != nil {
		l.t.Fatal(err)
	}
	path, err := store.DefaultDir.MakePath("text", store.SHA256.Sum(drv.ATerm(store.DefaultDir)), drv.Name+".drv")
	if err != nil {
		l.t.Fatal(err)
	}
	absent := l.absent
	if absent == nil {
		absent = drv.OutputNames()
	}
	closure, err := l.store.Closure(l.t.Context(), l.inputs)
	if err != nil {
		l.t.Fatal(err)
	}
	job := &builder.Job{Path: path, Drv: drv, Asks: asks, Inputs: closure, Outputs: map[string]store.StorePath{}, Absent: map[string]store.StorePath{},
		Watch: builder.Watch{Log: func(*builder.Log) {}, Line: func(string) {}, Message: func(*builder.Message) {}, Waiting: func(string) {},
			Round: func(int, int) {}, Started: func() {}, Ended: func() {}}}
	for name := range drv.Outputs {
		job.Outputs[name] = made(l.t, drv, name)
		drv.Env[name] = store.DefaultDir.Join(job.Outputs[name])
	}
	for _, name := range absent {
		job.Absent[name] = job.Outputs[name]
	}
	l.make, l.outputs = make, job.Outputs
	r, err := l.builder.Run(l.t.Context(), job)
	if err != nil {
		l.checkNothingLeft()
		return nil, err
	}
	infos := map[string]*store.PathInfo{}
	for _, o := range r.Outputs {
		infos[o.Name] = o.Info
	}
	err = r.Register(l.t.Context())
	l.checkNothingLeft()
	return infos, err
}

// mustBuild is build of what must succeed: the outputs are valid, and they are what
// the store says they are.
func (l *lab) mustBuild(drv *derivation.Derivation, make func(at map[string]place) error) map[string]*store.PathInfo {
	l.t.Helper()
	infos, err := l.build(drv, make)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, info := range infos {
		l.checkObject(info)
	}
	return infos
}

// refused is build of what must be refused with a status, and says why.
func (l *lab) refused(status result.Status, drv *derivation.Derivation, make func(at map[string]place) error) string {
	l.t.Helper()
	_, err := l.build(drv, make)
	var e *result.BuildError
	if !errors.As(err, &e) || e.Status != status {
		l.t.Fatalf("expected %s: %v", status, err)
	}
	return err.Error()
}

// addInput makes a valid path for builds to refer to.
func (l *lab) addInput(name, text string, refs ...store.StorePath) store.StorePath {
	l.t.Helper()
	p, err := l.store.AddText(l.t.Context(), name, []byte(text), refs)
	if err != nil {
		l.t.Fatal(err)
	}
	l.inputs = append(l.inputs, p)
	return p
}
