package local_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"larder/store"
	"larder/store/local"
)

func TestOpenTwice(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := local.Open(context.Background(), f.options)
	var locked *local.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("got %v", err)
	}
	f.reopen()
}

// Two state directories on the same objects would each take the other's for foreign.
func TestOpenObjectsOfAnother(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other := f.options
	other.StateDir = filepath.Join(t.TempDir(), "state")
	_, err := local.Open(context.Background(), other)
	var locked *local.LockedError
	if !errors.As(err, &locked) || locked.ObjectDir == "" || !strings.Contains(err.Error(), other.StateDir) {
		t.Fatalf("got %v", err)
	}
	check(t, f.Close())
	f.Store = nil
	s, err := local.Open(context.Background(), other)
	check(t, err)
	check(t, s.Close())
	f.open()
}

// In another object directory every path would be valid and absent. One that was moved is another matter.
func TestOpenWithOtherObjects(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	check(t, f.Close())
	f.Store = nil
	here := f.options.ObjectDir
	other := f.options
	other.ObjectDir = filepath.Join(t.TempDir(), "other")
	if s, err := local.Open(context.Background(), other); err == nil {
		s.Close()
		t.Fatal("a store was opened with another object directory")
	} else if !strings.Contains(err.Error(), here) || !strings.Contains(err.Error(), other.ObjectDir) {
		t.Errorf("got %v", err)
	}
	check(t, os.Remove(other.ObjectDir))
	check(t, os.Rename(here, other.ObjectDir))
	s, err := local.Open(context.Background(), other)
	check(t, err)
	check(t, s.Close())
	check(t, os.Rename(other.ObjectDir, here))
	f.open()
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	check(t, f.Close())
	f.Store = nil
	other := f.options
	other.StoreDir = "/other/store"
	if s, err := local.Open(context.Background(), other); err == nil {
		s.Close()
		t.Error("a store of another store directory was opened")
	}
	for _, o := range []local.Options{
		{StateDir: "relative", ObjectDir: f.options.ObjectDir},
		{StateDir: f.options.StateDir, ObjectDir: "relative"},
		{StateDir: f.options.StateDir, ObjectDir: f.options.ObjectDir, StoreDir: "/a/../b"},
		{StateDir: filepath.Join(t.TempDir(), "none"), ObjectDir: f.options.ObjectDir, ReadOnly: true},
	} {
		if s, err := local.Open(context.Background(), o); err == nil {
			s.Close()
			t.Errorf("%+v was opened", o)
		}
	}
	f.open()
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	f.register("a")
	check(t, f.Close())
	f.options.ReadOnly = true
	f.open()
	second, err := local.Open(ctx, f.options)
	if err != nil {
		t.Errorf("two readers: %v", err)
	} else {
		check(t, second.Close())
	}
	if !f.valid("a") || !f.whole("a") {
		t.Error("a is not there")
	}
	if _, err := f.NewTemp(ctx); !errors.Is(err, local.ErrReadOnly) {
		t.Errorf("NewTemp: %v", err)
	}
	if _, err := f.GC(ctx, local.GCOptions{}); !errors.Is(err, local.ErrReadOnly) {
		t.Errorf("GC: %v", err)
	}
	result, err := f.GC(ctx, local.GCOptions{DryRun: true})
	if err != nil || len(result.Paths) != 1 || !f.valid("a") {
		t.Errorf("dry run: %+v, %v", result, err)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	a := f.object("a")
	check(t, f.Close())
	ctx := context.Background()
	if err := f.Register(ctx, a); !errors.Is(err, local.ErrClosed) {
		t.Errorf("Register: %v", err)
	}
	if _, err := f.PathInfo(ctx, path("a")); !errors.Is(err, local.ErrClosed) {
		t.Errorf("PathInfo: %v", err)
	}
	check(t, f.Close())
	f.open()
	if got := f.files(); len(got) != 0 {
		t.Errorf("files left: %q", got)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	reserved, err := f.Number(path("a"))
	check(t, err)
	if again, err := f.Number(path("a")); err != nil || again != reserved {
		t.Errorf("the reservation changed: %d, %v", again, err)
	}
	if p, ok := f.PathOf(reserved); !ok || p != path("a") {
		t.Errorf("number %d is %v", reserved, p)
	}
	f.register("a")
	f.reopen()
	if n, err := f.Number(path("a")); err != nil || n != reserved {
		t.Errorf("Register did not keep the reservation: %d, %v", n, err)
	}
	if p, ok := f.PathOf(reserved); !ok || p != path("a") {
		t.Errorf("number %d is %v", reserved, p)
	}
	b, err := f.Number(path("b"))
	check(t, err)
	f.ReleaseNumber(b)
	if _, ok := f.PathOf(b); ok {
		t.Error("a released number is still known")
	}
	_, err = f.Delete(context.Background(), path("a"))
	check(t, err)
	if _, ok := f.PathOf(reserved); ok {
		t.Error("the number of a deleted path is still known")
	}
	f.register("a")
	if n, err := f.Number(path("a")); err != nil || n <= reserved {
		t.Errorf("a number was used again: %d after %d, %v", n, reserved, err)
	}
}

// Asking for names that do not exist uses up no numbers.
func TestReleasedNumbersAreUsedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first, err := f.Number(path("a"))
	check(t, err)
	for range 10_000 {
		f.ReleaseNumber(first)
		n, err := f.Number(path("b"))
		if err != nil || n != first {
			t.Fatalf("number %d, %v, want %d", n, err, first)
		}
		if p, ok := f.PathOf(n); !ok || p != path("b") {
			t.Fatalf("number %d is %v", n, p)
		}
	}
	// What is being registered keeps its number, whatever is released.
	f.register("b")
	f.ReleaseNumber(first)
	if n, err := f.Number(path("c")); err != nil || n == first {
		t.Errorf("number %d belongs to two paths: %v", n, err)
	}
	if n, err := f.Number(path("b")); err != nil || n != first {
		t.Errorf("number %d became %d: %v", first, n, err)
	}
}

// Registrations and releases at the same time give no number to two paths.
func TestNumbersAreOnePathsOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for i := range 50 {
				if n, err := f.Number(path(strings.Repeat("x", i+1))); err == nil {
					f.ReleaseNumber(n)
				}
			}
		})
	}
	for i := range 50 {
		f.register(strings.Repeat("x", i+1))
	}
	wg.Wait()
	owners := map[uint32]string{}
	for i := range 50 {
		name := strings.Repeat("x", i+1)
		n, err := f.Number(path(name))
		check(t, err)
		if other := owners[n]; other != "" {
			t.Errorf("number %d is of %s and %s", n, other, name)
		}
		owners[n] = name
	}
}

// TestNumbersAfterCrash: numbers that were given out before a crash are not given out again.
func TestNumbersAfterCrash(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	seen := map[uint32]bool{}
	for range 3 {
		for i := range 10 {
			n, err := f.Number(path(fmt.Sprint("path-", i, "-", len(seen))))
			check(t, err)
			if seen[n] {
				t.Fatalf("number %d was given out twice", n)
			}
			seen[n] = true
		}
		// A copy of the state directory is what a crash leaves.
		state := filepath.Join(t.TempDir(), "state")
		for os.CopyFS(state, os.DirFS(f.options.StateDir)) != nil { // Pebble is removing files of the Open before
			check(t, os.RemoveAll(state))
		}
		check(t, f.Close())
		f.options.StateDir = state
		f.open()
	}
}

func TestRealisations(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	id := store.DrvOutput{DrvHash: store.SHA256.Sum([]byte("drv")), Output: "out"}
	r := &store.Realisation{ID: id, OutPath: path("a"), Signatures: []store.Signature{{Name: "k1"}}}
	if err := f.RegisterRealisation(ctx, r); !errors.Is(err, store.ErrNotValid) {
		t.Errorf("of an invalid path: %v", err)
	}
	f.register("a")
	f.register("b")
	check(t, f.RegisterRealisation(ctx, r))
	r.Signatures = []store.Signature{{Name: "k2"}}
	check(t, f.RegisterRealisation(ctx, r))
	f.reopen()
	got, err := f.Realisation(ctx, id)
	check(t, err)
	if got.OutPath != path("a") || len(got.Signatures) != 2 {
		t.Errorf("got %+v", got)
	}
	if list, err := f.Realisations(ctx, path("a")); err != nil || len(list) != 1 || list[0].ID != id {
		t.Errorf("realisations of a: %v %v", list, err)
	}
	if list, err := f.Realisations(ctx, path("b")); err != nil || len(list) != 0 {
		t.Errorf("realisations of b: %v %v", list, err)
	}
	r.OutPath = path("b")
	if err := f.RegisterRealisation(ctx, r); err == nil {
		t.Error("a second path for the same output was taken")
	}
	_, err = f.Delete(ctx, path("a"))
	check(t, err)
	if _, err := f.Realisation(ctx, id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after deletion: %v", err)
	}
}

func TestNarInfoCache(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	f := newFixture(t, func(o *local.Options) { o.Now = func() time.Time { return now } })
	ctx := context.Background()
	digest := path("a").Digest()
	check(t, f.PutNarInfo(ctx, "https://one", digest, "text", time.Minute))
	check(t, f.PutNarInfo(ctx, "https://two", digest, "", time.Hour))
	check(t, f.PutCacheInfo(ctx, "https://one", "StoreDir: /nix/store\n", time.Hour))
	f.reopen()
	expect := func(url, text string, known bool) {
		t.Helper()
		got, ok, err := f.GetNarInfo(ctx, url, digest)
		if err != nil || got != text || ok != known {
			t.Errorf("%s: got %q, %v, %v", url, got, ok, err)
		}
	}
	expect("https://one", "text", true)
	expect("https://two", "", true)
	expect("https://three", "", false)
	now = now.Add(time.Minute)
	expect("https://one", "", false)
	_, err := f.GC(ctx, local.GCOptions{})
	check(t, err)
	expect("https://two", "", true)
	if text, ok, err := f.GetCacheInfo(ctx, "https://one"); err != nil || !ok || text == "" {
		t.Errorf("cache info: %q, %v, %v", text, ok, err)
	}
}

func TestSignaturesAndLastUse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	f.register("a")
	check(t, f.AddSignatures(ctx, path("a"), []store.Signature{{Name: "k"}, {Name: "l"}}))
	check(t, f.AddSignatures(ctx, path("a"), []store.Signature{{Name: "k", Data: [64]byte{1}}}))
	info, err := f.PathInfo(ctx, path("a"))
	check(t, err)
	if len(info.Signatures) != 2 || info.Signatures[0].Data[0] != 1 {
		t.Errorf("signatures %v", info.Signatures)
	}
	at, err := f.LastUse(ctx, path("a"))
	if err != nil || !at.Equal(info.RegistrationTime) {
		t.Errorf("last use %v, %v", at, err)
	}
	used := time.Unix(5000, 0)
	check(t, f.Used(ctx, used, paths("a", "absent")...))
	if at, err = f.LastUse(ctx, path("a")); err != nil || !at.Equal(used) {
		t.Errorf("last use %v, %v", at, err)
	}
	p, err := f.PathFromHashPart(ctx, path("a").Digest())
	if err != nil || p != path("a") {
		t.Errorf("path from hash part: %v, %v", p, err)
	}
	if _, err := f.PathFromHashPart(ctx, path("b").Digest()); !errors.Is(err, store.ErrNotValid) {
		t.Errorf("path from hash part: %v", err)
	}
}

func TestUnregistered(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	f.register("a")
	release := f.AddTempRoot(path("a"))
	defer release()
	for _, name := range []string{path("foreign").String(), "lost+found", local.TempPrefix + "stray"} {
		check(t, os.Mkdir(filepath.Join(f.ObjectDir(), name), 0o755))
	}
	_, err := f.NewTemp(ctx)
	check(t, err)
	f.reopen()
	got, err := f.Unregistered(ctx)
	if err != nil || len(got) != 3 {
		t.Errorf("unregistered %q, %v", got, err)
	}
	release = f.AddTempRoot(path("a"))
	defer release()
	result, err := f.GC(ctx, local.GCOptions{KeepUnregistered: true})
	if err != nil || len(result.Unregistered) != 3 || len(f.files()) != 4 {
		t.Errorf("kept: %+v, %v", result, err)
	}
	_, err = f.GC(ctx, local.GCOptions{})
	if got := f.files(); err != nil || len(got) != 2 {
		t.Errorf("files left: %q, %v", got, err)
	}
}
