package realiser_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/nar"
	"larder/realiser"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
	"larder/store/local"
)

// fakeBuilder is a function as sandbox.
type fakeBuilder func(spec *sandbox.Spec) error

func (b fakeBuilder) Run(_ context.Context, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
	return &sandbox.Result{}, b(spec)
}

// outputOf is where a builder makes an output.
func outputOf(spec *sandbox.Spec, name string) string {
	for _, e := range spec.Env {
		if p, ok := strings.CutPrefix(e, name+"="); ok {
			return filepath.Join(spec.BuildStore, filepath.Base(p))
		}
	}
	return ""
}

// addDerivation registers a derivation with these outputs, whose builder is a Go function.
func addDerivation(t *testing.T, s *local.Store, d *derivation.Derivation, variable ...string) (drv store.StorePath) {
	t.Helper()
	d.Name, d.System, d.Builder = "hostile", "x86_64-linux", "/bin/sh"
	d.Env = map[string]string{}
	if len(variable) > 0 {
		d.Env[variable[0]] = variable[1]
	}
	return addDrv(t, s, d)
}

func realise(t *testing.T, r *realiser.Realiser, drv store.StorePath) realiser.BuildResult {
	t.Helper()
	o, err := r.Build(t.Context(), store.Caller{}, realiser.Request{Targets: []realiser.Target{{Drv: drv}}})
	if err != nil {
		t.Fatal(err)
	}
	return o.Results[0]
}

// A fixed-output builder is in the host's network and can give a descriptor of its
// output to a process outside, over an abstract unix socket. What is registered
// must be beyond the reach of that descriptor.
func TestDescriptorsOfFixedOutputsDoNotReachTheStore(t *testing.T) {
	t.Parallel()
	var leaked, leakedDir *os.File
	t.Cleanup(func() { leaked.Close(); leakedDir.Close() })
	build := fakeBuilder(func(spec *sandbox.Spec) (err error) {
		out := outputOf(spec, "out")
		if err := os.Mkdir(out, 0o755); err != nil {
			return err
		}
		if leakedDir, err = os.Open(out); err != nil {
			return err
		}
		if leaked, err = os.Create(filepath.Join(out, "file")); err != nil {
			return err
		}
		_, err = leaked.WriteString("good")
		return err
	})
	model := filepath.Join(t.TempDir(), "model")
	if err := errors.Join(os.Mkdir(model, 0o755), os.WriteFile(filepath.Join(model, "file"), []byte("good"), 0o644)); err != nil {
		t.Fatal(err)
	}
	h := store.SHA256.New()
	if _, err := nar.Dump(t.Context(), h, model); err != nil {
		t.Fatal(err)
	}
	s := openStore(t)
	drv := addDerivation(t, s, &derivation.Derivation{Outputs: map[string]derivation.Output{
		"out": {CA: store.ContentAddress{Method: store.Recursive, Hash: store.SumOf(store.SHA256, h)}}}})
	res := realise(t, open(t, s, build, nil), drv)
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	out := s.ObjectPath(res.Outputs["out"])
	if _, err := leaked.WriteAt([]byte("evil"), 0); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(out, "file")); err != nil || string(text) != "good" {
		t.Errorf("the output is %q, %v", text, err)
	}
	held, err := leakedDir.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(out); err != nil || os.SameFile(st, held) {
		t.Errorf("the builder's directory is in the store: %v", err)
	}
}

// So can one that shares a directory of the machine with others, in which there may be sockets.
func TestDescriptorsOfSharedDirectoriesDoNotReachTheStore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		change   func(o *realiser.Options, dir string)
		variable func(dir string) []string
	}{
		{"sandbox-paths", func(o *realiser.Options, dir string) {
			o.SandboxPaths = []sandbox.Mount{{Source: dir, Target: "/cache"}}
		}, func(string) []string { return nil }},
		{"impure-host-deps", func(o *realiser.Options, dir string) { o.AllowedImpureHostDeps = []string{dir} },
			func(dir string) []string { return []string{"__impureHostDeps", dir} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var leaked *os.File
			t.Cleanup(func() { leaked.Close() })
			build := fakeBuilder(func(spec *sandbox.Spec) (err error) {
				if leaked, err = os.Create(outputOf(spec, "out")); err == nil {
					_, err = leaked.WriteString("good")
				}
				return err
			})
			s, dir := openStore(t), t.TempDir()
			drv := addDerivation(t, s, &derivation.Derivation{Outputs: map[string]derivation.Output{"out": {}}}, c.variable(dir)...)
			res := realise(t, open(t, s, build, func(o *realiser.Options) { c.change(o, dir) }), drv)
			if res.Err != nil {
				t.Fatal(res.Err)
			}
			if _, err := leaked.WriteAt([]byte("evil"), 0); err != nil {
				t.Fatal(err)
			}
			if text, err := os.ReadFile(s.ObjectPath(res.Outputs["out"])); err != nil || string(text) != "good" {
				t.Errorf("the output is %q, %v", text, err)
			}
		})
	}
}

// Users of this machine must not get at what a builder has under way: by a socket
// in it they could be handed descriptors, and its /tmp is writable for all.
func TestOthersCannotReachABuild(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	closed := func(path string) bool {
		for ; path != "/"; path = filepath.Dir(path) {
			st, err := os.Stat(path)
			if err != nil {
				t.Error(err)
				return false
			}
			if st.Mode()&0o011 == 0 && int(statUID(t, path)) == os.Geteuid() {
				return strings.HasPrefix(path, filepath.Dir(s.StateDir())+"/")
			}
		}
		return false
	}
	build := fakeBuilder(func(spec *sandbox.Spec) error {
		for _, dir := range []string{spec.BuildStore, spec.BuildDir, spec.TmpDir} {
			if !closed(filepath.Dir(dir)) {
				t.Errorf("%s can be reached by everybody", dir)
			}
		}
		return os.WriteFile(outputOf(spec, "out"), nil, 0o644)
	})
	drv := addDerivation(t, s, &derivation.Derivation{Outputs: map[string]derivation.Output{"out": {}}})
	if res := realise(t, open(t, s, build, nil), drv); res.Err != nil {
		t.Error(res.Err)
	}
}

// A file may have links in several outputs.
func TestLinksBetweenOutputs(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can run builders as other users, whose files change their owner")
	}
	build := fakeBuilder(func(spec *sandbox.Spec) error {
		uid := spec.HostUID
		a, b := outputOf(spec, "out"), outputOf(spec, "dev")
		return errors.Join(os.Mkdir(a, 0o755), os.Mkdir(b, 0o755), os.Chown(a, uid, uid), os.Chown(b, uid, uid),
			os.WriteFile(a+"/file", []byte("x"), 0o755), os.Chown(a+"/file", uid, uid), os.Link(a+"/file", b+"/file"))
	})
	s := openStore(t)
	drv := addDerivation(t, s, &derivation.Derivation{Outputs: map[string]derivation.Output{"out": {}, "dev": {}}})
	r := open(t, s, build, func(o *realiser.Options) { o.Users = buildUsers(t) })
	if res := realise(t, r, drv); res.Err != nil {
		t.Error(res.Err)
	}
}

// oneNAR is a substituter that calls during while it delivers a NAR.
type oneNAR struct {
	infos  map[store.StorePath]*store.NarInfo
	nars   map[store.StorePath][]byte
	during func(store.StorePath)
}

func (c *oneNAR) String() string               { return "test" }
func (c *oneNAR) Priority(context.Context) int { return 1 }
func (c *oneNAR) NarInfo(_ context.Context, p store.StorePath) (*store.NarInfo, error) {
	if i := c.infos[p]; i != nil {
		return i, nil
	}
	return nil, store.ErrNotFound
}
func (c *oneNAR) NAR(_ context.Context, n *store.NarInfo) (io.ReadCloser, error) {
	c.during(n.Path)
	return io.NopCloser(bytes.NewReader(c.nars[n.Path])), nil
}

// References of a path that is being downloaded survive a garbage collection.
func TestGCDuringSubstitution(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	c := &oneNAR{infos: map[store.StorePath]*store.NarInfo{}, nars: map[store.StorePath][]byte{}}
	path := func(name string, refs ...store.StorePath) store.StorePath {
		p := parsePath(t, "/nix/store/"+strings.Repeat(name, 32)+"-"+name)
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := nar.Dump(t.Context(), &b, file); err != nil {
			t.Fatal(err)
		}
		c.nars[p] = b.Bytes()
		c.infos[p] = &store.NarInfo{PathInfo: store.PathInfo{Path: p, NarHash: store.SHA256.Sum(b.Bytes()), NarSize: uint64(b.Len()), References: refs}}
		return p
	}
	low := path("a")
	top := path("b", low)
	c.during = func(p store.StorePath) {
		if p != top {
			return
		}
		if _, err := s.GC(t.Context(), local.GCOptions{}); err != nil {
			t.Error(err)
		}
	}
	if err := substituting(t, s, c).Realise(t.Context(), store.Caller{}, top); err != nil {
		t.Error(err)
	}
}

// gcStore collects garbage each time that somebody has asked whether a path is valid.
type gcStore struct {
	*local.Store
	path store.StorePath
}

func (s *gcStore) Valid(ctx context.Context, paths []store.StorePath) ([]bool, error) {
	valid, err := s.Store.Valid(ctx, paths)
	if slices.Contains(paths, s.path) && err == nil {
		_, err = s.GC(ctx, local.GCOptions{})
	}
	return valid, err
}

// Inputs that were found valid stay valid until the build is over.
func TestGCDuringBuild(t *testing.T) {
	t.Parallel()
	build := fakeBuilder(func(spec *sandbox.Spec) error { return os.WriteFile(outputOf(spec, "out"), nil, 0o644) })
	s := openStore(t)
	input := addDerivation(t, s, &derivation.Derivation{Outputs: map[string]derivation.Output{"out": {}}})
	top := addDerivation(t, s, &derivation.Derivation{Outputs: map[string]derivation.Output{"out": {}},
		InputDrvs: map[store.StorePath][]string{input: {"out"}}})
	res := realise(t, open(t, s, build, nil), input)
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	r := open(t, s, build, func(o *realiser.Options) { o.Store = &gcStore{s, res.Outputs["out"]} })
	if res := realise(t, r, top); res.Err != nil {
		t.Error(res.Err)
	}
}

func statUID(t *testing.T, path string) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid
}
