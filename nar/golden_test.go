package nar_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"larder/nar"
)

func TestDumpIsNixs(t *testing.T) {
	table := loadTable(t, "good.tsv")
	nars := loadNARs(t, "good", 32)
	for name, tree := range loadTrees(t) {
		if name == sparse4GiB {
			continue // reading it from disk would fill the page cache
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "tree")
			tree.build(t, path)
			h := newHasher()
			var b bytes.Buffer
			size, err := nar.Dump(context.Background(), io.MultiWriter(h, &b), path)
			if err != nil {
				t.Fatal(err)
			}
			if size != h.size {
				t.Errorf("Dump says %d bytes, wrote %d", size, h.size)
			}
			h.check(t, table[name])
			if name != big1MiB && !bytes.Equal(b.Bytes(), nars[name]) {
				t.Error("differs from Nix's NAR")
			}
		})
	}
}

// zeros is an endless supply of them.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestLargeFileIsNixs(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: 4 GiB to hash")
	}
	t.Parallel()
	tree := loadTrees(t)[sparse4GiB]
	h := newHasher()
	h.hashes = map[int]hash.Hash{8: sha256.New()} // one is enough to wait for
	w := nar.NewWriter(h)
	if err := w.WriteEntry(&nar.Entry{Type: nar.Regular, Size: tree.size()}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, io.MultiReader(io.LimitReader(zeros{}, tree.Zeros), bytes.NewReader(tree.Tail))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	h.check(t, loadTable(t, "good.tsv")[sparse4GiB])
}

func TestGoodRoundTrips(t *testing.T) {
	for name, want := range loadNARs(t, "good", 32) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if err := recode(&b, bytes.NewReader(want)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Error("Reader to Writer differs")
			}
			b.Reset()
			if err := recode(&b, iotest.OneByteReader(bytes.NewReader(want))); err != nil || !bytes.Equal(b.Bytes(), want) {
				t.Error("byte by byte differs", err)
			}
			for _, opt := range []nar.RestoreOptions{{}, {Canonical: true}} {
				dest := filepath.Join(tempDir(t), "tree")
				size, err := nar.Restore(context.Background(), bytes.NewReader(want), dest, opt)
				if err != nil || size != int64(len(want)) {
					t.Fatal(size, err)
				}
				b.Reset()
				if _, err := nar.Dump(context.Background(), &b, dest); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(b.Bytes(), want) {
					t.Error("Restore to Dump differs")
				}
			}
		})
	}
}

// controls are archives among the malformed ones that are in canonical form.
var controls = []string{"control-good", "executable-control", "deep-1000"}

// laxNix are archives that are not in canonical form, and that `nix-store --restore` of Nix 2.8.0 takes nevertheless.
var laxNix = []string{
	"entry-empty", "entry-no-node", "entry-two-names",
	"executable-after-contents", "executable-no-contents", "executable-twice",
	"extra-close-paren", "trailing-garbage", "trailing-second-nar", "trailing-zeros",
	"names-unsorted", "names-unsorted-case", "names-unsorted-high", "names-unsorted-prefix",
	"regular-contents-twice", "regular-no-contents",
	"symlink-no-target", "symlink-nul-target", "type-empty-node",
}

func TestBadIsRefused(t *testing.T) {
	table := loadTable(t, "bad.tsv")
	for name, data := range loadNARs(t, "bad", 141) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if nixTakes, listed := table[name][2] == "0", slices.Contains(laxNix, name) || slices.Contains(controls, name); nixTakes != listed {
				t.Errorf("Nix takes it: %v; listed in this test: %v", nixTakes, listed)
			}
			parent := tempDir(t)
			_, err := nar.Restore(context.Background(), bytes.NewReader(data), filepath.Join(parent, "tree"), nar.RestoreOptions{Canonical: true})
			if slices.Contains(controls, name) {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var malformed *nar.FormatError
			if !errors.As(err, &malformed) {
				t.Fatalf("not refused as malformed: %v", err)
			}
			if malformed.Offset < 0 || malformed.Offset > int64(len(data)) {
				t.Errorf("offset %d in %d bytes", malformed.Offset, len(data))
			}
			if strings.HasPrefix(name, "truncated-") && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("not reported as truncated: %v", err)
			}
			if left := readDir(t, parent); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			var b bytes.Buffer
			if err := recode(&b, bytes.NewReader(data)); !errors.As(err, &malformed) {
				t.Errorf("Reader alone: %v", err)
			}
		})
	}
}

func readDir(t testing.TB, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
