package local_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"larder/store"
	"larder/store/local"
)

// fixture is a store in a directory of its own that can be closed and opened again.
type fixture struct {
	*local.Store
	t       testing.TB
	options local.Options
}

func newFixture(t testing.TB, change ...func(*local.Options)) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{t: t, options: local.Options{
		StoreDir:  "/nix/store",
		ObjectDir: filepath.Join(dir, "objects"),
		StateDir:  filepath.Join(dir, "state"),
		Logger:    testLogger(t),
	}}
	for _, c := range change {
		c(&f.options)
	}
	f.open()
	t.Cleanup(func() {
		if f.Store != nil {
			if err := f.Close(); err != nil {
				t.Errorf("closing the store: %v", err)
			}
		}
		makeWritable(f.options.ObjectDir)
	})
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	s, err := local.Open(context.Background(), f.options)
	if err != nil {
		f.t.Fatalf("opening the store: %v", err)
	}
	f.Store = s
}

func (f *fixture) reopen() {
	f.t.Helper()
	if err := f.Close(); err != nil {
		f.t.Fatalf("closing the store: %v", err)
	}
	f.Store = nil
	f.open()
}

// path is a store path whose digest comes from the name.
func path(name string) store.StorePath {
	sum := sha256.Sum256([]byte(name))
	p, err := store.NewStorePath([20]byte(sum[:20]), name)
	if err != nil {
		panic(err)
	}
	return p
}

func paths(names ...string) []store.StorePath {
	list := make([]store.StorePath, len(names))
	for i, n := range names {
		list[i] = path(n)
	}
	return list
}

// object makes an object at a temporary name: a directory with a file that holds the name.
func (f *fixture) object(name string, refs ...string) store.Addition {
	f.t.Helper()
	temp, err := f.NewTemp(context.Background())
	if err != nil {
		f.t.Fatal(err)
	}
	dir := filepath.Join(f.ObjectDir(), temp)
	check(f.t, os.Mkdir(dir, 0o755))
	check(f.t, os.WriteFile(filepath.Join(dir, "name"), []byte(name), 0o444))
	check(f.t, f.Canonicalise(context.Background(), temp, -1))
	return store.Addition{Temp: temp, Info: pathInfo(name, refs...)}
}

func pathInfo(name string, refs ...string) *store.PathInfo {
	return &store.PathInfo{
		Path: path(name), NarHash: store.SHA256.Sum([]byte(name)), NarSize: uint64(len(name)), References: paths(refs...),
	}
}

func (f *fixture) register(name string, refs ...string) store.StorePath {
	f.t.Helper()
	a := f.object(name, refs...)
	if err := f.Register(context.Background(), a); err != nil {
		f.t.Fatalf("registering %s: %v", name, err)
	}
	return a.Info.Path
}

func (f *fixture) valid(name string) bool {
	f.t.Helper()
	v, err := f.Valid(context.Background(), paths(name))
	check(f.t, err)
	return v[0]
}

// whole tells whether the object of a name lies where it should, complete.
func (f *fixture) whole(name string) bool {
	b, err := os.ReadFile(filepath.Join(f.ObjectPath(path(name)), "name"))
	return err == nil && string(b) == name
}

// files are the names in the object directory.
func (f *fixture) files() []string {
	f.t.Helper()
	entries, err := os.ReadDir(f.options.ObjectDir)
	check(f.t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// makeWritable lets t.TempDir remove read-only directories, also for a user who is not root.
func makeWritable(dir string) {
	filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			return os.Chmod(p, 0o755)
		}
		return nil
	})
}

func names(ps []store.StorePath) string {
	s := ""
	for _, p := range ps {
		s += fmt.Sprintf(" %s", p.Name())
	}
	return s
}
