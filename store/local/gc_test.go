package local_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"larder/store/local"
)

func TestGCKeepsWhatRootsReach(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	f.register("lib")
	f.register("app", "lib", "app")
	f.register("old", "lib")
	f.register("temp")
	link := filepath.Join(t.TempDir(), "result")
	check(t, f.AddPermanentRoot(ctx, link, path("app")))
	release := f.AddTempRoot(path("temp"))

	result, err := f.GC(ctx, local.GCOptions{})
	check(t, err)
	if got := names(result.Paths); got != " old" {
		t.Errorf("deleted:%s", got)
	}
	if result.BytesFreed < 4096 || result.Live != 3 {
		t.Errorf("freed %d bytes, %d live", result.BytesFreed, result.Live)
	}
	for _, n := range []string{"lib", "app", "temp"} {
		if !f.valid(n) || !f.whole(n) {
			t.Errorf("%s is gone", n)
		}
	}
	release()
	check(t, os.Remove(link))
	result, err = f.GC(ctx, local.GCOptions{})
	check(t, err)
	if len(result.Paths) != 3 || len(result.StaleRoots) != 1 {
		t.Errorf("deleted%s, stale roots %q", names(result.Paths), result.StaleRoots)
	}
	if got := f.files(); len(got) != 0 {
		t.Errorf("files left: %q", got)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	f.register("a")
	f.register("b", "a")
	f.register("c", "b")
	f.register("other")
	check(t, f.AddPermanentRoot(ctx, filepath.Join(f.StateDir(), "gcroots", "keep"), path("c")))
	_, err := f.Delete(ctx, path("a"))
	var alive *local.AliveError
	if !errors.As(err, &alive) || names(alive.Chain) != " c b a" || filepath.Base(alive.Root.Link) != "keep" {
		t.Fatalf("deleting a live path: %v", err)
	}
	check(t, os.Remove(filepath.Join(f.StateDir(), "gcroots", "keep")))
	result, err := f.Delete(ctx, path("a"))
	check(t, err)
	if names(result.Paths) != " c b a" {
		t.Errorf("deleted%s", names(result.Paths))
	}
	if !f.valid("other") {
		t.Error("another path was deleted too")
	}
}
