package local_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"larder/nar"
	"larder/store"
	"larder/store/local"
)

// trueObject is an object whose NAR hash is right, unlike that of object.
func (f *fixture) trueObject(name, text string, refs ...string) store.Addition {
	f.t.Helper()
	a := f.object(name, refs...)
	dir := filepath.Join(f.ObjectDir(), a.Temp)
	check(f.t, os.Chmod(dir, 0o755))
	check(f.t, os.Remove(filepath.Join(dir, "name")))
	check(f.t, os.WriteFile(filepath.Join(dir, "name"), []byte(text), 0o444))
	check(f.t, f.Canonicalise(context.Background(), a.Temp, -1))
	var b bytes.Buffer
	_, err := nar.Dump(context.Background(), &b, dir)
	check(f.t, err)
	a.Info.NarHash, a.Info.NarSize = store.SHA256.Sum(b.Bytes()), uint64(b.Len())
	return a
}

func (f *fixture) damage(name string) {
	f.t.Helper()
	file := filepath.Join(f.ObjectPath(path(name)), "name")
	check(f.t, os.Chmod(file, 0o644))
	check(f.t, os.WriteFile(file, []byte("damaged"), 0o644))
}

func TestCheckContents(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	check(t, f.Register(ctx, f.trueObject("good", "x"), f.trueObject("bad", "x"), f.trueObject("gone", "x"), f.trueObject("odd", "x")))
	null := f.object("null")
	null.Info.NarHash, _ = store.NewHash(store.SHA256, make([]byte, 32))
	check(t, f.Register(ctx, null))
	f.damage("bad")
	check(t, os.Chmod(f.ObjectPath(path("gone")), 0o755))
	check(t, os.RemoveAll(f.ObjectPath(path("gone"))))
	check(t, os.Chmod(f.ObjectPath(path("odd")), 0o755))
	check(t, os.Symlink("/", filepath.Join(f.ObjectPath(path("odd")), "new")))
	for name, says := range map[string]string{"good": "", "null": "", "bad": "expected hash sha256-", "gone": "missing", "odd": "got sha256-"} {
		err := f.CheckContents(ctx, path(name))
		if says == "" && err != nil || says != "" && (!errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", name, err, says)
		}
		if err := f.CheckObject(ctx, path(name)); (err != nil) != (name == "gone") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := f.CheckContents(ctx, path("never")); !errors.Is(err, store.ErrNotValid) || errors.Is(err, store.ErrDamaged) {
		t.Error(err)
	}
}

func TestReplaceSameContents(t *testing.T) {
	t.Parallel()
	var asked []store.StorePath
	shown := 0
	f := newFixture(t, func(o *local.Options) {
		o.OnReplace = func(_ context.Context, paths []store.StorePath) (func(), error) {
			asked = append(asked, paths...)
			return func() { shown++ }, nil
		}
	})
	ctx := context.Background()
	for _, n := range []string{"damaged", "missing"} {
		a := f.trueObject(n, n)
		a.Info.Deriver = path("maker.drv")
		check(t, f.Register(ctx, a))
	}
	f.damage("damaged")
	check(t, os.Chmod(f.ObjectPath(path("missing")), 0o755))
	check(t, os.RemoveAll(f.ObjectPath(path("missing"))))
	signature := store.Signature{Name: "k"}
	a, b := f.trueObject("damaged", "damaged"), f.trueObject("missing", "missing")
	a.Info.Signatures = []store.Signature{signature}
	check(t, f.Replace(ctx, a, b))
	for _, n := range []string{"damaged", "missing"} {
		check(t, f.CheckContents(ctx, path(n)))
	}
	info, err := f.PathInfo(ctx, path("damaged"))
	check(t, err)
	if info.Deriver != path("maker.drv") || len(info.Signatures) != 1 || info.Ultimate {
		t.Errorf("what is known of it became %+v", info)
	}
	if len(asked) != 2 || shown != 1 {
		t.Errorf("asked about%s, %d times done", names(asked), shown)
	}
	f.reopen()
	f.checkWhole()
}

func TestReplaceOtherContents(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	f.register("a")
	f.register("b")
	check(t, f.Register(ctx, f.trueObject("x", "x", "a", "x")))
	f.register("y", "x")
	other := f.trueObject("x", "other", "b", "x")
	other.Info.Ultimate = true
	check(t, f.Replace(ctx, other))
	check(t, f.CheckContents(ctx, path("x")))
	info, err := f.PathInfo(ctx, path("x"))
	check(t, err)
	if got := names(info.References); !strings.Contains(got, " b") || strings.Contains(got, " a") || !info.Ultimate {
		t.Errorf("it refers to%s, ultimate %v", got, info.Ultimate)
	}
	if back, err := f.Referrers(ctx, path("a")); err != nil || len(back) > 0 {
		t.Errorf("a is referred to by%s, %v", names(back), err)
	}

	circle := f.trueObject("x", "circle", "y")
	if err := f.Replace(ctx, circle); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a circle: %v", err)
	}
	lacking := f.trueObject("x", "lacking", "never")
	if err := f.Replace(ctx, lacking); !errors.Is(err, store.ErrNotValid) {
		t.Errorf("a reference that is not valid: %v", err)
	}
	if err := f.Replace(ctx, f.trueObject("never", "never")); !errors.Is(err, store.ErrNotValid) {
		t.Errorf("a path that is not valid: %v", err)
	}
	byContent := f.trueObject("text", "text")
	byContent.Info.CA = store.ContentAddress{Method: store.Recursive, Hash: byContent.Info.NarHash}
	check(t, f.Register(ctx, byContent))
	if err := f.Replace(ctx, f.trueObject("text", "other")); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("other contents of a content-addressed path: %v", err)
	}
	check(t, f.CheckContents(ctx, path("x")))
	if left := f.files(); len(left) != 5 {
		t.Errorf("in the object directory: %q", left)
	}
}

func TestReplaceIsRefused(t *testing.T) {
	t.Parallel()
	busy := errors.New("busy")
	f := newFixture(t, func(o *local.Options) {
		o.OnReplace = func(context.Context, []store.StorePath) (func(), error) { return nil, busy }
	})
	ctx := context.Background()
	check(t, f.Register(ctx, f.trueObject("x", "x")))
	if err := f.Replace(ctx, f.trueObject("x", "other")); !errors.Is(err, busy) {
		t.Error(err)
	}
	check(t, f.CheckContents(ctx, path("x")))
	if !f.whole("x") {
		t.Error("it was replaced")
	}
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	f.register("x")
	for range 2 {
		check(t, f.Confirm(ctx, path("x"), store.Signature{Name: "k"}))
		info, err := f.PathInfo(ctx, path("x"))
		check(t, err)
		if !info.Ultimate || len(info.Signatures) != 1 {
			t.Errorf("it is %+v", info)
		}
	}
	if err := f.Confirm(ctx, path("never")); !errors.Is(err, store.ErrNotValid) {
		t.Error(err)
	}
}
