package cache_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"testing"

	"larder/nar"
	"larder/store"
	"larder/store/cache"
)

// source is a store in memory, for pushing from.
type source struct {
	infos map[store.StorePath]*store.PathInfo
	nars  map[store.StorePath][]byte
	order []store.StorePath // as added: references first
}

func newSource() *source {
	return &source{infos: map[store.StorePath]*store.PathInfo{}, nars: map[store.StorePath][]byte{}}
}

// add makes an input-addressed path: a directory with one file.
func (s *source) add(t testing.TB, name string, contents []byte, refs ...store.StorePath) store.StorePath {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	for _, e := range []*nar.Entry{
		{Type: nar.Directory},
		{Path: "file", Type: nar.Regular, Size: int64(len(contents))},
	} {
		if err := w.WriteEntry(e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(contents); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := store.DefaultDir.MakePath("output:out", store.SHA256.Sum(b.Bytes()), name)
	if err != nil {
		t.Fatal(err)
	}
	s.infos[p] = &store.PathInfo{
		Path: p, NarHash: store.SHA256.Sum(b.Bytes()), NarSize: uint64(b.Len()), References: refs,
	}
	s.nars[p] = b.Bytes()
	s.order = append(s.order, p)
	return p
}

func (s *source) Dir() store.Dir { return store.DefaultDir }

func (s *source) Realisations(context.Context, store.StorePath) ([]*store.Realisation, error) {
	return nil, nil
}

func (s *source) PathInfo(_ context.Context, p store.StorePath) (*store.PathInfo, error) {
	if i := s.infos[p]; i != nil {
		return i, nil
	}
	return nil, &store.PathError{Op: "look up", Path: p, Err: store.ErrNotValid}
}

func (s *source) DumpNAR(_ context.Context, w io.Writer, p store.StorePath) error {
	_, err := w.Write(s.nars[p])
	return err
}

// noise is half as compressible as text: words of random bytes, repeated.
func noise(size int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b []byte
	for len(b) < size {
		if n := len(b); n > 100 && r.IntN(2) == 0 {
			from := r.IntN(n - 50)
			b = append(b, b[from:from+50]...)
			continue
		}
		for range 4 {
			b = append(b, byte(r.Uint32()))
		}
	}
	return b[:size]
}

// pushed makes a cache with what s has and returns its directory.
func pushed(t testing.TB, s *source, o cache.PushOptions) string {
	t.Helper()
	dir := t.TempDir()
	if err := open(t, "file://"+dir, cache.Options{}).Push(t.Context(), s, s.order, o); err != nil {
		t.Fatal(err)
	}
	return dir
}
