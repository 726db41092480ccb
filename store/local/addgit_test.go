package local_test

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"larder/nar/git"
	"larder/store"
)

func TestAddTreeByGit(t *testing.T) {
	t.Parallel()
	f := newFixture(t, quiet)
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "tree")
	check(t, errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "hello"), []byte("hello world\n"), 0o644)))
	p, err := f.AddTree(ctx, "tree", dir, store.Git, store.SHA1, store.References{})
	check(t, err)
	// git write-tree of the same.
	id, err := hex.DecodeString("7604755fe13e27f5327d6d13dc6663d44847562d")
	check(t, err)
	h, err := store.NewHash(store.SHA1, id)
	check(t, err)
	info, err := f.PathInfo(ctx, p)
	check(t, err)
	if want := (store.ContentAddress{Method: store.Git, Hash: h}); info.CA != want || !info.ContentAddressed(store.DefaultDir) {
		t.Errorf("%+v, want %s", info, want)
	}
	if _, err := f.AddTree(ctx, "tree", dir, store.Git, store.SHA512, store.References{}); err == nil {
		t.Error("git does not know sha512")
	}
	link := dir + "-link"
	check(t, os.Symlink("x", link))
	if _, err := f.AddTree(ctx, "link", link, store.Git, store.SHA1, store.References{}); !errors.Is(err, git.ErrNoObject) {
		t.Errorf("a bare symlink: %v", err)
	}
	if got := len(f.files()); got != 1 {
		t.Errorf("%d files", got)
	}
}
