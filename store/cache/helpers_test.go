package cache_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"larder/nar"
	"larder/store"
	"larder/store/cache"
	"larder/test/fixture"
)

// quick are options with which failures do not take long.
func quick() cache.Options {
	return cache.Options{
		Attempts: 3, Backoff: time.Millisecond,
		ConnectTimeout: 5 * time.Second, StallTimeout: 5 * time.Second,
	}
}

func open(t testing.TB, url string, o cache.Options) *cache.Cache {
	t.Helper()
	c, err := cache.Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// unpack returns the directory of the golden caches, plain or tampered.
func unpack(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(fixture.Unpack(t, "caches/"+name+".tar.zst"), name)
}

// serve makes a directory available on the web.
func serve(t testing.TB, dir string) string {
	t.Helper()
	return handle(t, http.FileServer(http.Dir(dir)))
}

func handle(t testing.TB, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func storePath(t testing.TB, s string) store.StorePath {
	t.Helper()
	p, err := store.ParseStorePath(strings.TrimPrefix(s, "/nix/store/"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// trusted is the policy of the verdicts in tampered.tsv.
func trusted(t testing.TB, requireSigs bool) cache.Policy {
	t.Helper()
	key, err := store.ParsePublicKey(strings.TrimSpace(string(fixture.Read(t, "caches/keys/cache.example.org-1.pub"))))
	if err != nil {
		t.Fatal(err)
	}
	return cache.Policy{Keys: store.NewKeyRing(key), RequireSigs: requireSigs}
}

// readNAR reads a whole NAR and checks its hash.
func readNAR(ctx context.Context, c *cache.Cache, n *store.NarInfo) error {
	r, err := c.NAR(ctx, n)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	size, err := io.Copy(h, r)
	if err != nil {
		return err
	}
	if got := store.SumOf(store.SHA256, h); got != n.NarHash || uint64(size) != n.NarSize {
		return fmt.Errorf("%w: got %d bytes with hash %v", store.ErrCorrupt, size, got)
	}
	return nil
}

// substituter does what a store does with a cache, in little: it brings closures into a directory.
type substituter struct {
	cache *cache.Cache
	dir   string
	state map[store.StorePath]error // of what was tried; errPending for what is being tried
}

var errPending = fmt.Errorf("it refers to itself through others")

func (s *substituter) substitute(ctx context.Context, p store.StorePath) error {
	if err, tried := s.state[p]; tried {
		return err
	}
	s.state[p] = errPending
	err := s.try(ctx, p)
	s.state[p] = err
	return err
}

func (s *substituter) try(ctx context.Context, p store.StorePath) error {
	n, err := s.cache.NarInfo(ctx, p)
	if err != nil {
		return err
	}
	for _, ref := range n.References {
		if ref == p {
			continue
		}
		if err := s.substitute(ctx, ref); err != nil {
			return err
		}
	}
	r, err := s.cache.NAR(ctx, n)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	dest := filepath.Join(s.dir, p.String())
	if _, err = nar.Restore(ctx, io.TeeReader(r, h), dest, nar.RestoreOptions{}); err != nil {
		return err
	}
	if got := store.SumOf(store.SHA256, h); got != n.NarHash {
		os.RemoveAll(dest)
		return fmt.Errorf("%w: hash mismatch: specified %s, got %s", store.ErrCorrupt, n.NarHash, got)
	}
	return nil
}
