package engine_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"larder/cmd/internal/config"
	"larder/cmd/internal/control"
	"larder/cmd/internal/engine"
	"larder/nar"
	"larder/store"
	"larder/store/local"
	"larder/test/ids"
)

func open(t *testing.T, options ...[2]string) *engine.Engine {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() { // store objects lack the permission to be removed
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				return os.Chmod(name, 0o700)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	c, _, err := config.Load(config.Sources{NoFiles: true, Options: append([][2]string{
		{"store-dir", dir + "/store"}, {"state-dir", dir + "/state"}, {"substituters", ""}}, append(ids.New(t).Settings(), options...)...)})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(t.Context(), engine.Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// archive is the NAR of a file.
func archive(t *testing.T, text string, executable bool) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	err := w.WriteEntry(&nar.Entry{Type: nar.Regular, Size: int64(len(text)), Executable: executable})
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return &b
}

func add(t *testing.T, e *engine.Engine, name string, refs ...store.StorePath) store.StorePath {
	t.Helper()
	p, err := e.Add(t.Context(), control.AddRequest{Name: name, Method: store.Recursive, Algo: store.SHA256, References: refs}, archive(t, name, false))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestAddAgreesWithStore: the path of what came as a stream is that of the same file added by the store itself.
func TestAddAgreesWithStore(t *testing.T) {
	e := open(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("contents"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, m := range []store.Method{store.Flat, store.Recursive, store.Text} {
		for _, algo := range []store.HashAlgo{store.MD5, store.SHA1, store.SHA256, store.SHA512} {
			if m == store.Text && algo != store.SHA256 {
				continue
			}
			got, err := e.Add(t.Context(), control.AddRequest{Name: "n", Method: m, Algo: algo}, archive(t, "contents", false))
			if err != nil {
				t.Fatal(m, algo, err)
			}
			want, err := e.Store().AddTree(t.Context(), "n", file, m, algo, store.References{})
			if err != nil || got != want {
				t.Errorf("%v %v: %s, want %s, %v", m, algo, got, want, err)
			}
		}
	}
}

func TestBadAdds(t *testing.T) {
	e := open(t)
	whole := archive(t, "contents", true).Bytes()
	for name, c := range map[string]struct {
		q    control.AddRequest
		text []byte
	}{
		"executable":    {control.AddRequest{Name: "n", Method: store.Flat, Algo: store.SHA256}, whole},
		"truncated":     {control.AddRequest{Name: "n", Method: store.Recursive, Algo: store.SHA256}, whole[:100]},
		"bad name":      {control.AddRequest{Name: "a b", Method: store.Recursive, Algo: store.SHA256}, whole},
		"no algorithm":  {control.AddRequest{Name: "n", Method: store.Recursive}, whole},
		"md5 with refs": {control.AddRequest{Name: "n", Method: store.Recursive, Algo: store.MD5, References: []store.StorePath{add(t, e, "ref")}}, whole},
	} {
		if _, err := e.Add(t.Context(), c.q, bytes.NewReader(c.text)); err == nil {
			t.Errorf("%s: it was added", name)
		}
	}
	entries, err := os.ReadDir(e.Store().ObjectDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range entries {
		if strings.HasPrefix(f.Name(), ".larder") {
			t.Errorf("left behind: %s", f.Name())
		}
	}
}

// shown is a file system in which some objects are in use.
type shown struct {
	busy []store.StorePath

	mu          sync.Mutex // guards what follows
	invalidated []store.StorePath
	undone      int
}

func (s *shown) Invalidate(_ context.Context, paths []store.StorePath) (busy []store.StorePath, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.invalidated = append(s.invalidated, paths...)
	s.undone++
	for _, p := range paths {
		if slices.Contains(s.busy, p) {
			busy = append(busy, p)
		}
	}
	return busy, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.undone--
	}
}

// TestGarbageInUse: what the kernel does not give back stays, with all it refers to.
func TestGarbageInUse(t *testing.T) {
	e := open(t)
	below := add(t, e, "below")
	used := add(t, e, "used", below)
	dead := add(t, e, "dead", below)
	s := &shown{busy: []store.StorePath{used}}
	e.Show(s)
	r, err := e.CollectGarbage(t.Context(), control.GCRequest{})
	if err != nil || !slices.Equal(r.Paths, []store.StorePath{dead}) || r.Live != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if !slices.Contains(s.invalidated, dead) || s.undone != 0 {
		t.Errorf("invalidated %v, %d not done", s.invalidated, s.undone)
	}
	e.Show(nil)
	if r, err = e.CollectGarbage(t.Context(), control.GCRequest{}); err != nil || len(r.Paths) != 2 {
		t.Errorf("when nobody uses it: %+v, %v", r, err)
	}
}

// TestConfigurationErrors: they name the setting.
func TestConfigurationErrors(t *testing.T) {
	for name, value := range map[string]string{
		"substituters": "gopher://x", "secret-key-files": "/not/there",
	} {
		e := open(t, [2]string{name, value})
		if _, err := e.Realiser(t.Context()); err == nil || !strings.Contains(err.Error(), "setting "+name+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClosed(t *testing.T) {
	e := open(t)
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Realiser(t.Context()); !errors.Is(err, local.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// What is not registered may be another program's and is deleted only if that is asked for.
func TestGarbageOfOthers(t *testing.T) {
	e := open(t)
	foreign := filepath.Join(e.Store().ObjectDir(), "7rjj86a15146cq1d3qy068lml7n7ykzm-foreign")
	if err := os.WriteFile(foreign, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q     control.GCRequest
		there bool
	}{{control.GCRequest{}, true}, {control.GCRequest{DryRun: true, Unregistered: true}, true}, {control.GCRequest{Unregistered: true}, false}} {
		r, err := e.CollectGarbage(t.Context(), c.q)
		if err != nil || !slices.Equal(r.Unregistered, []string{filepath.Base(foreign)}) {
			t.Errorf("%+v: %+v, %v", c.q, r, err)
		}
		if _, err := os.Lstat(foreign); (err == nil) != c.there {
			t.Errorf("%+v: %v", c.q, err)
		}
	}
}
