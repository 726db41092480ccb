package content_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/nar"
	"larder/nar/git"
	"larder/realiser/content"
	"larder/store"
)

const self = "0123456789abcdfghijklmnpqrsvwxyz"

// makeTree makes a tree whose contents, a name and a target have self in them.
func makeTree(t *testing.T, self string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	text := strings.Repeat("x", 1<<18-10) + self + "y" + self
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o644),
		os.WriteFile(filepath.Join(dir, "name-"+self), nil, 0o755), os.Symlink("/nix/store/"+self+"-x", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// All methods with all algorithms agree with hashes of the whole text.
func TestOf(t *testing.T) {
	t.Parallel()
	tree := makeTree(t, self)
	file := filepath.Join(tree, "file")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if _, err := nar.Dump(t.Context(), &archive, tree); err != nil {
		t.Fatal(err)
	}
	for _, a := range []store.HashAlgo{store.MD5, store.SHA1, store.SHA256, store.SHA512, store.BLAKE3} {
		check := func(m store.Method, path string, want store.Hash) {
			t.Helper()
			got, err := content.Of(t.Context(), unix.AT_FDCWD, path, m, a, "")
			if err != nil || got != want {
				t.Errorf("%s %s: %v, %v, want %v", m, a, got, err, want)
			}
		}
		check(store.Flat, file, a.Sum(text))
		check(store.Recursive, tree, a.Sum(archive.Bytes()))
		over := content.OverNAR(store.Recursive, a, "")
		over.Write(archive.Bytes())
		if got := store.SumOf(a, over); got != a.Sum(archive.Bytes()) {
			t.Errorf("%s over the NAR: %v", a, got)
		}
		if a == store.SHA256 {
			check(store.Text, file, a.Sum(text))
		} else if _, err := content.Of(t.Context(), unix.AT_FDCWD, file, store.Text, a, ""); err == nil {
			t.Errorf("text was hashed with %s", a)
		}
		if store.Git.CheckAlgo(a) != nil {
			if _, err := content.Of(t.Context(), unix.AT_FDCWD, tree, store.Git, a, ""); err == nil {
				t.Errorf("git hashed with %s", a)
			}
			continue
		}
		id, err := git.ObjectID(bytes.NewReader(archive.Bytes()), a.New)
		if err != nil {
			t.Fatal(err)
		}
		want, err := store.NewHash(a, id)
		if err != nil {
			t.Fatal(err)
		}
		check(store.Git, tree, want)
	}
}

// Trees that differ in the hash part of their own path alone have the same hash.
func TestOfLeavesOutSelf(t *testing.T) {
	t.Parallel()
	const other = "zyxwvsrqpnmlkjihgfdcba9876543210"
	a, b := makeTree(t, self), makeTree(t, other)
	for _, c := range []struct {
		m    store.Method
		name string
	}{{store.Recursive, "."}, {store.Flat, "file"}} {
		x, errX := content.Of(t.Context(), unix.AT_FDCWD, filepath.Join(a, c.name), c.m, store.SHA256, self)
		y, errY := content.Of(t.Context(), unix.AT_FDCWD, filepath.Join(b, c.name), c.m, store.SHA256, other)
		if errX != nil || errY != nil || x != y {
			t.Errorf("%s: %v and %v; %v, %v", c.m, x, y, errX, errY)
		}
		if z, err := content.Of(t.Context(), unix.AT_FDCWD, filepath.Join(a, c.name), c.m, store.SHA256, ""); err != nil || z == x {
			t.Errorf("%s: the positions do not count: %v, %v", c.m, z, err)
		}
	}
	if content.OverNAR(store.Flat, store.SHA256, self) != nil || content.OverNAR(store.Git, store.SHA1, "") != nil {
		t.Error("methods that do not hash the NAR do")
	}
}

func TestOfRefuses(t *testing.T) {
	t.Parallel()
	tree := makeTree(t, self)
	for name, m := range map[string]store.Method{".": store.Flat, "link": store.Text, "name-" + self: store.Flat} {
		if _, err := content.Of(t.Context(), unix.AT_FDCWD, filepath.Join(tree, name), m, store.SHA256, ""); !errors.Is(err, content.ErrNotPlain) {
			t.Errorf("%s hashed %s: %v", m, name, err)
		}
	}
	for _, name := range []string{"link", "name-" + self} {
		if _, err := content.Of(t.Context(), unix.AT_FDCWD, filepath.Join(tree, name), store.Git, store.SHA1, ""); !errors.Is(err, content.ErrNoObject) {
			t.Errorf("git hashed %s: %v", name, err)
		}
	}
	if _, err := content.Of(t.Context(), unix.AT_FDCWD, filepath.Join(tree, "none"), store.Flat, store.SHA256, ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}
