package program_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"larder/store"
	"larder/store/cache"
	"larder/store/cache/program"
)

// oneObject is a store with one object.
type oneObject struct{ *object }

func (o oneObject) Dir() store.Dir { return store.DefaultDir }

func (o oneObject) Realisations(context.Context, store.StorePath) ([]*store.Realisation, error) {
	return nil, nil
}

func (o oneObject) PathInfo(_ context.Context, p store.StorePath) (*store.PathInfo, error) {
	if p == o.info.Path {
		return &o.info.PathInfo, nil
	}
	return nil, &store.PathError{Op: "look up", Path: p, Err: store.ErrNotValid}
}

func (o oneObject) DumpNAR(_ context.Context, w io.Writer, p store.StorePath) error {
	_, err := w.Write(o.nar)
	return err
}

// The example serves a cache that is a directory.
func TestExampleProgram(t *testing.T) {
	example, err := filepath.Abs("../../../examples/exec-substituter/directory-cache.sh")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(example); err != nil {
		t.Fatal(err)
	}
	for _, compression := range []string{"none", "xz", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			o := newObject(t, store.DefaultDir, "hello", "some text\n")
			dir := t.TempDir()
			c, err := cache.Open(t.Context(), "file://"+dir, cache.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Push(t.Context(), oneObject{o}, []store.StorePath{o.info.Path}, cache.PushOptions{Compression: compression}); err != nil {
				t.Fatal(err)
			}
			p := open(t, "exec:"+example+"?arg="+dir, program.Options{})
			if got := p.Priority(t.Context()); got != 30 {
				t.Errorf("priority %d", got)
			}
			if got, err := fetch(t, p, o.info.Path); err != nil || !bytes.Equal(got, o.nar) {
				t.Errorf("%q %v", got, err)
			}
			// A file that is broken is an error of this path, and the program goes on.
			if err := os.RemoveAll(filepath.Join(dir, "nar")); err != nil {
				t.Fatal(err)
			}
			if _, err := fetch(t, p, o.info.Path); err == nil {
				t.Error("no error though the NAR is gone")
			}
			if _, err := p.NarInfo(t.Context(), o.info.Path); err != nil {
				t.Errorf("after an error: %v", err)
			}
		})
	}
}
