package cache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
	"larder/store"
	"larder/store/cache"
	"larder/test/fixture"
)

// notRead are caches of Nix whose NARs are refused, with a clear error.
var notRead = []string{"compression-compress"}

// notWritten are compressions that Nix can write and we don't: no cache uses them.
var notWritten = []string{"lz4", "lzip", "compress", "lzma"}

// pathsOf are the paths of a cache on disk.
func pathsOf(t *testing.T, dir string) []store.StorePath {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.narinfo"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no narinfos (%v)", dir, err)
	}
	var paths []store.StorePath
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		n, err := store.ParseNarInfo(store.DefaultDir, string(b))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, n.Path)
	}
	return paths
}

// bothWays runs a test on a cache as a directory and on the web.
func bothWays(t *testing.T, dir string, test func(*testing.T, string)) {
	t.Run("file", func(t *testing.T) { test(t, "file://"+dir) })
	t.Run("http", func(t *testing.T) { test(t, serve(t, dir)) })
}

func TestPlainCachesAreRead(t *testing.T) {
	root := unpack(t, "plain")
	for _, row := range fixture.TSV(t, "caches/plain.tsv") {
		name, made := row[0], row[2] == "0"
		dir := filepath.Join(root, name)
		if _, err := os.Stat(dir); (err == nil) != made {
			t.Fatalf("%s: Nix's exit status was %s, and the cache: %v", name, row[2], err)
		}
		if !made {
			continue
		}
		t.Run(name, func(t *testing.T) {
			bothWays(t, dir, func(t *testing.T, url string) {
				c := open(t, url, quick())
				for _, p := range pathsOf(t, dir) {
					n, err := c.NarInfo(t.Context(), p)
					if err != nil {
						t.Fatal(err)
					}
					err = readNAR(t.Context(), c, n)
					switch {
					case slices.Contains(notRead, name):
						if err == nil || !strings.Contains(err.Error(), "not supported") {
							t.Errorf("%s: %v", p, err)
						}
					case err != nil:
						t.Error(err)
					}
				}
			})
		})
	}
}

// TestPlainURLs checks that the URLs that Nix took are taken, and those that it refused are refused.
func TestPlainURLs(t *testing.T) {
	for _, row := range fixture.TSV(t, "caches/plain.tsv") {
		u, err := url.Parse(strings.ReplaceAll(row[1], "...", "/somewhere"))
		if err != nil {
			t.Fatal(err)
		}
		ok := row[2] == "0" && !slices.Contains(notWritten, u.Query().Get("compression"))
		_, err = cache.Open(t.Context(), u.String(), cache.Options{})
		if (err == nil) != ok {
			t.Errorf("%s: %v, want success: %v", u, err, ok)
		}
	}
}

func TestPlainSignatures(t *testing.T) {
	root := unpack(t, "plain")
	for name, want := range map[string]bool{"signed": true, "signed-twice": true, "default": false} {
		dir := filepath.Join(root, name)
		for _, settings := range []string{"", "?trusted=true"} {
			o := quick()
			o.Policy = trusted(t, true)
			c := open(t, "file://"+dir+settings, o)
			for _, p := range pathsOf(t, dir) {
				n, err := c.NarInfo(t.Context(), p)
				switch {
				case err == nil && (want || c.Trusted() || !n.CA.IsZero()):
				case errors.Is(err, store.ErrBadSignature) && !want:
				default:
					t.Errorf("%s%s: %s: %v", name, settings, p, err)
				}
			}
		}
	}
}

func TestPlainInfo(t *testing.T) {
	root := unpack(t, "plain")
	bothWays(t, filepath.Join(root, "priority"), func(t *testing.T, url string) {
		for settings, want := range map[string]cache.Info{
			"":                                     {StoreDir: "/nix/store", Priority: 30, WantMassQuery: true},
			"?priority=7&want-mass-query=false":    {StoreDir: "/nix/store", Priority: 7},
			"?local-nar-cache=/nowhere&priority=3": {StoreDir: "/nix/store", Priority: 3, WantMassQuery: true},
		} {
			c := open(t, url+settings, quick())
			got, err := c.Info(t.Context())
			if err != nil || got != want || c.Priority(t.Context()) != want.Priority {
				t.Errorf("%q: %+v, %v; want %+v", settings, got, err, want)
			}
			if c.String() != url {
				t.Errorf("%q: the name is %s", settings, c)
			}
		}
		o := quick()
		o.StoreDir = "/gnu/store"
		if _, err := open(t, url, o).Info(t.Context()); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "/gnu/store") {
			t.Errorf("another store directory: %v", err)
		}
	})
}

func TestPlainListings(t *testing.T) {
	root := unpack(t, "plain")
	for _, name := range []string{"listing", "listing-br"} {
		dir := filepath.Join(root, name)
		bothWays(t, dir, func(t *testing.T, url string) {
			c := open(t, url, quick())
			for _, p := range pathsOf(t, dir) {
				l, err := c.Listing(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				got, err := json.Marshal(l)
				want, _ := os.ReadFile(filepath.Join(dir, p.HashPart()+".ls"))
				if err != nil || string(got) != string(want) {
					t.Errorf("%s: %s (%v)\nwant %s", p, got, err, want)
				}
			}
			absent := storePath(t, "00000000000000000000000000000000-absent")
			if _, err := c.Listing(t.Context(), absent); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("absent: %v", err)
			}
		})
	}
}

func TestPlainLogs(t *testing.T) {
	root := unpack(t, "plain")
	for _, name := range []string{"logs", "logs-compressed"} {
		logs, err := os.ReadDir(filepath.Join(root, name, "log"))
		if err != nil || len(logs) == 0 {
			t.Fatal(err)
		}
		bothWays(t, filepath.Join(root, name), func(t *testing.T, url string) {
			c := open(t, url, quick())
			for _, l := range logs {
				got, err := readLog(t.Context(), c, storePath(t, l.Name()))
				want, _ := os.ReadFile(filepath.Join(root, name, "log", l.Name()))
				if err != nil || got != string(want) || got == "" {
					t.Errorf("%s: %q (%v), want %q", l.Name(), got, err, want)
				}
			}
			absent := storePath(t, "00000000000000000000000000000000-absent.drv")
			if _, err := c.Log(t.Context(), absent); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("absent: %v", err)
			}
		})
	}
}

func readLog(ctx context.Context, c *cache.Cache, drv store.StorePath) (string, error) {
	r, err := c.Log(ctx, drv)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

func TestPlainRealisations(t *testing.T) {
	dir := filepath.Join(unpack(t, "plain"), "realisations")
	files, err := os.ReadDir(filepath.Join(dir, "realisations"))
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	bothWays(t, dir, func(t *testing.T, url string) {
		c := open(t, url, quick())
		o := quick()
		o.Policy = trusted(t, true)
		strict := open(t, url, o)
		for _, f := range files {
			id, err := store.ParseDrvOutput(strings.TrimSuffix(f.Name(), ".doi"))
			if err != nil {
				t.Fatal(err)
			}
			r, err := c.Realisation(t.Context(), id)
			if err != nil || r.ID != id {
				t.Errorf("%s: %+v, %v", id, r, err)
			}
			// Nix 2.8 does not sign realisations when it copies them.
			if _, err := strict.Realisation(t.Context(), id); !errors.Is(err, store.ErrBadSignature) {
				t.Errorf("%s: with signatures required: %v", id, err)
			}
		}
		absent := store.DrvOutput{DrvHash: store.SHA256.Sum(nil), Output: "out"}
		if _, err := c.Realisation(t.Context(), absent); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("absent: %v", err)
		}
	})
}

// TestCompressedLog: newer versions of Nix compress logs in the file, and nothing tells how.
func TestCompressedLog(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "log"), 0o755); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "building\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	drv := storePath(t, "00000000000000000000000000000000-x.drv")
	if err := os.WriteFile(filepath.Join(dir, "log", drv.String()), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := readLog(t.Context(), open(t, "file://"+dir, quick()), drv); err != nil || got != "building\n" {
		t.Errorf("%q, %v", got, err)
	}
}
