package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"larder/nar/tree"
	"larder/store"
)

func testPath(name string) store.StorePath {
	p, err := store.NewStorePath([20]byte(store.SHA1.Sum([]byte(name)).Bytes()), name)
	if err != nil {
		panic(err)
	}
	return p
}

func fullInfo() *info {
	return &info{
		narHash: store.SHA256.Sum(nil), narSize: 1 << 40, registered: time.Unix(1700000000, 0), deriver: testPath("x.drv"),
		ca:         store.ContentAddress{Method: store.Recursive, Hash: store.SHA512.Sum(nil)},
		signatures: []store.Signature{{Name: "key-1", Data: [64]byte{1, 2, 3}}}, ultimate: true,
		promise: &promise{kind: KindExecutable, sources: []string{"https://cache", ""}, listing: store.SHA256.Sum([]byte("ls"))},
	}
}

func TestRecordsRoundTrip(t *testing.T) {
	for _, i := range []*info{fullInfo(), {narHash: store.SHA256.Sum(nil), registered: time.Unix(0, 0)}} {
		got, err := decodeInfo(i.encode())
		if err != nil || !reflect.DeepEqual(got, i) {
			t.Errorf("got %+v, %v; expected %+v", got, err, i)
		}
	}
	for _, numbers := range [][]uint32{{}, {1}, {1, 2, 70000, 1<<32 - 1}} {
		got, err := appendNumbers([]uint32{}, encodeNumbers(numbers))
		if err != nil || !reflect.DeepEqual(got, numbers) {
			t.Errorf("got %v, %v; expected %v", got, err, numbers)
		}
	}
	list := []output{{"out", testPath("a")}, {"dev", store.StorePath{}}}
	if got, err := decodeOutputs(encodeOutputs(list)); err != nil || !reflect.DeepEqual(got, list) {
		t.Errorf("got %v, %v", got, err)
	}
	i := intent{remove, identity{2, 3}}
	if got, err := decodeIntent(i.encode()); err != nil || got != i {
		t.Errorf("got %v, %v", got, err)
	}
}

// FuzzRecords feeds every decoder: none may panic or allocate by a mere claim, and what it takes it must give back.
func FuzzRecords(f *testing.F) {
	seeds := [][]byte{
		fullInfo().encode(), entry{Promised, 7}.encode(), encodeNumbers([]uint32{3, 5, 900}), encodePath(testPath("a")),
		encodeOutputs([]output{{"out", testPath("a")}}), intent{put, identity{2, 3}}.encode(), encodeAnswer(time.Unix(9, 0), "text"), {},
		{2, 0, 0},
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again := func(what string, err error, encode func() []byte) {
			if err == nil && len(encode()) > len(b) { // a varint may have been longer than it need be
				t.Errorf("%s: %x becomes %x", what, b, encode())
			}
		}
		i, err := decodeInfo(b)
		again("info", err, func() []byte { return i.encode() })
		e, err := decodeEntry(b)
		again("entry", err, e.encode)
		n, err := appendNumbers(nil, b)
		again("numbers", err, func() []byte { return encodeNumbers(n) })
		p, err := decodePath(b)
		again("path", err, func() []byte { return encodePath(p) })
		o, err := decodeOutputs(b)
		again("outputs", err, func() []byte { return encodeOutputs(o) })
		in, err := decodeIntent(b)
		again("intent", err, in.encode)
		at, text, err := decodeAnswer(b)
		again("answer", err, func() []byte { return encodeAnswer(at, text) })
	})
}

// openInside opens a store for tests that look into it.
func openInside(t *testing.T) *Store {
	dir := t.TempDir()
	s, err := Open(context.Background(), Options{
		ObjectDir: filepath.Join(dir, "objects"), StateDir: filepath.Join(dir, "state"),
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestCorruptRecords: a damaged record is an error that says so, and nothing else.
func TestCorruptRecords(t *testing.T) {
	t.Parallel()
	s := openInside(t)
	ctx := context.Background()
	p, err := s.AddText(ctx, "text", []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	e, _, err := s.entry(s.db, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range [][]byte{
		pathKey(p), numberKey(tableInfo, e.number), numberKey(tableReferences, e.number), numberKey(tableName, e.number),
	} {
		good, err := s.db.get(key)
		if err != nil {
			t.Fatal(err)
		}
		set := func(value []byte) {
			if err := s.db.change(false, func(b *pebble.Batch) error { return b.Set(key, value, nil) }); err != nil {
				t.Fatal(err)
			}
		}
		for _, bad := range [][]byte{{}, {99}, good[:len(good)-1], append(bytes.Clone(good), 0)} {
			set(bad)
			_, infoErr := s.PathInfo(ctx, p)
			_, closureErr := s.Closure(ctx, []store.StorePath{p})
			_, gcErr := s.GC(ctx, GCOptions{DryRun: true})
			if !errors.Is(errors.Join(infoErr, closureErr, gcErr), store.ErrCorrupt) {
				t.Errorf("record %q = %x: %v, %v, %v", key, bad, infoErr, closureErr, gcErr)
			}
		}
		set(good)
	}
	if _, err := s.PathInfo(ctx, p); err != nil {
		t.Errorf("after repair: %v", err)
	}
}

// TestPromiseIsKept: content that comes for a promised path makes it present, if it is what was promised.
func TestPromiseIsKept(t *testing.T) {
	t.Parallel()
	s := openInside(t)
	ctx := context.Background()
	p, err := s.AddText(ctx, "text", []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	i, err := s.PathInfo(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	e, _, _ := s.entry(s.db, p)
	record, err := s.info(s.db, e.number)
	if err != nil {
		t.Fatal(err)
	}
	record.promise = &promise{kind: KindRegular}
	err = s.db.change(true, func(b *pebble.Batch) error {
		w := &batchWriter{b: b}
		w.set(pathKey(p), entry{Promised, e.number}.encode())
		w.set(numberKey(tableInfo, e.number), record.encode())
		return w.err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.RemoveAt(ctx, s.objects, p.String()); err != nil {
		t.Fatal(err)
	}
	if s.IsPresent(p) {
		t.Error("a promised path counts as present")
	}
	if _, err := s.ReadFile(ctx, p, 10); !errors.Is(err, errNotHere) {
		t.Errorf("reading a promised path: %v", err)
	}
	bring := func(text string, hash store.Hash) error {
		temp, err := s.NewTemp(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.writeFile(temp, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
			t.Fatal(err)
		}
		return s.Register(ctx, store.Addition{Temp: temp, Info: &store.PathInfo{Path: p, NarHash: hash}})
	}
	if err := bring("y", store.SHA256.Sum(nil)); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("other content than was promised: %v", err)
	}
	if err := bring("x", i.NarHash); err != nil {
		t.Error(err)
	}
	if n, err := s.Number(p); err != nil || n != e.number || !s.IsPresent(p) {
		t.Errorf("number %d, %v", n, err)
	}
	if after, err := s.PathInfo(ctx, p); err != nil || !reflect.DeepEqual(after, i) {
		t.Errorf("got %+v, %v; expected %+v", after, err, i)
	}
}
