package realiser_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/nar"
	"larder/realiser/content"
	"larder/store"
)

// A content address stands for a signature, so what a substituter delivers must be
// what it says: by each method the right content is taken, and no other.
func TestSubstitutesAreWhatTheirContentAddressSays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, exe, other := filepath.Join(dir, "file"), filepath.Join(dir, "exe"), filepath.Join(dir, "other")
	if err := errors.Join(os.WriteFile(file, []byte("right"), 0o644), os.WriteFile(exe, []byte("right"), 0o755), os.WriteFile(other, []byte("wrong"), 0o644)); err != nil {
		t.Fatal(err)
	}
	archive := func(path string) []byte {
		var b bytes.Buffer
		if _, err := nar.Dump(t.Context(), &b, path); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, c := range []struct {
		m store.Method
		a store.HashAlgo
	}{{store.Text, store.SHA256}, {store.Flat, store.MD5}, {store.Flat, store.SHA256}, {store.Recursive, store.SHA256}, {store.Recursive, store.SHA512},
		{store.Git, store.SHA1}, {store.Git, store.SHA256}} {
		h, err := content.Of(t.Context(), unix.AT_FDCWD, file, c.m, c.a, "")
		if err != nil {
			t.Fatal(err)
		}
		ca := store.ContentAddress{Method: c.m, Hash: h}
		p, err := store.DefaultDir.ContentPath("x", ca, store.References{})
		if err != nil {
			t.Fatal(err)
		}
		for delivered, says := range map[string]string{file: "", other: "content-address mismatch", exe: ""} {
			if delivered == exe {
				says = "content-address mismatch"
				if c.m == store.Text || c.m == store.Flat {
					says = "non-executable regular file"
				} else if c.m == store.Git {
					says = "bare executable"
				}
			}
			text := archive(delivered)
			source := &oneNAR{nars: map[store.StorePath][]byte{p: text}, during: func(store.StorePath) {}, infos: map[store.StorePath]*store.NarInfo{
				p: {PathInfo: store.PathInfo{Path: p, CA: ca, NarHash: store.SHA256.Sum(text), NarSize: uint64(len(text))}}}}
			s := openStore(t)
			err := substituting(t, s, source).Realise(t.Context(), store.Caller{}, p)
			if says == "" && err != nil || says != "" && (!errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), says)) || s.IsPresent(p) != (says == "") {
				t.Errorf("%s of %s: %v, expected %q", ca, filepath.Base(delivered), err, says)
			}
		}
	}
}
