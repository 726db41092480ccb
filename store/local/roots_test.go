package local_test

import (
	"context"
	"crypto/sha1"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"larder/store"
	"larder/store/local"
)

func TestRootsHaveNixsLayout(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	for _, n := range []string{"direct", "indirect", "named", "profile", "inside", "none"} {
		f.register(n)
	}
	home := t.TempDir()
	result := filepath.Join(home, "result")
	check(t, f.AddPermanentRoot(ctx, result, path("indirect")))
	sum := sha1.Sum([]byte(result))
	if got, err := os.Readlink(filepath.Join(f.StateDir(), "gcroots", "auto", store.EncodeNix32(sum[:]))); err != nil || got != result {
		t.Errorf("the indirect root points to %q, %v", got, err)
	}
	if got, err := os.Readlink(result); err != nil || got != f.Dir().Join(path("indirect")) {
		t.Errorf("the link points to %q, %v", got, err)
	}
	check(t, f.AddPermanentRoot(ctx, filepath.Join(f.StateDir(), "gcroots", "direct"), path("direct")))
	check(t, os.WriteFile(filepath.Join(f.StateDir(), "gcroots", path("named").String()), nil, 0o644))
	check(t, os.Symlink(f.Dir().Join(path("profile")), filepath.Join(f.StateDir(), "profiles", "p-1-link")))
	check(t, os.Symlink("p-1-link", filepath.Join(f.StateDir(), "profiles", "p")))
	check(t, os.Symlink(f.Dir().Join(path("inside"))+"/bin/sh", filepath.Join(home, "sh")))
	check(t, f.AddIndirectRoot(ctx, filepath.Join(home, "sh")))
	check(t, os.Symlink(f.Dir().Join(path("not-valid")), filepath.Join(f.StateDir(), "gcroots", "not-valid")))
	roots, err := f.Roots(ctx)
	check(t, err)
	var got []string
	for _, r := range roots {
		got = append(got, r.Path.Name())
	}
	slices.Sort(got)
	if want := []string{"direct", "indirect", "inside", "named", "profile", "profile"}; !slices.Equal(got, want) {
		t.Errorf("roots %q, expected %q", got, want)
	}
	gc, err := f.GC(ctx, local.GCOptions{})
	check(t, err)
	if names(gc.Paths) != " none" {
		t.Errorf("deleted%s", names(gc.Paths))
	}
}

func TestRootsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	f.register("a")
	if err := f.AddPermanentRoot(ctx, filepath.Join(t.TempDir(), "x"), path("b")); !errors.Is(err, store.ErrNotValid) {
		t.Errorf("of an invalid path: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, []byte("mine"), 0o644))
	if err := f.AddPermanentRoot(ctx, file, path("a")); err == nil {
		t.Error("a file was replaced")
	}
	if err := f.AddIndirectRoot(ctx, "relative"); err == nil {
		t.Error("a relative link was taken")
	}
}

// TestUnreadableRoot: a link that can't be read at the moment keeps what it kept.
func TestUnreadableRoot(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	f.register("a")
	// A link in a directory whose name is too long for the system now, as an absent file system would be.
	home := filepath.Join(t.TempDir(), "home")
	check(t, os.Mkdir(home, 0o755))
	link := filepath.Join(home, "result")
	check(t, f.AddPermanentRoot(ctx, link, path("a")))
	check(t, os.Remove(link))
	check(t, os.Remove(home))
	check(t, os.Symlink(home, home)) // ELOOP
	result, err := f.GC(ctx, local.GCOptions{})
	check(t, err)
	if !f.valid("a") || len(result.StaleRoots) != 0 {
		t.Error("a root that can't be read was dropped")
	}
	unknown := filepath.Join(home, "unknown")
	check(t, f.AddIndirectRoot(ctx, unknown))
	if _, err := f.GC(ctx, local.GCOptions{}); err == nil {
		t.Error("GC went on although it doesn't know what a root keeps")
	}
}
