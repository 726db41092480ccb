package realiser_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
	"larder/store/cache"
	"larder/store/local"
	"larder/test/fixture"
)

// cacheContents is contents.json: what real Nix put into the caches.
type cacheContents struct {
	Drvs     map[string]string
	Outputs  map[string]map[string]string
	PathInfo []struct {
		Path, NarHash string
		NarSize       uint64
		References    []string
	}
}

func readContents(t *testing.T) *cacheContents {
	t.Helper()
	var c cacheContents
	if err := json.Unmarshal(fixture.Read(t, "caches/contents.json"), &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

// path is an output of a derivation in the caches.
func (c *cacheContents) path(t *testing.T, drv, output string) store.StorePath {
	return parsePath(t, c.Outputs[drv][output])
}

// checkInfo compares what is registered for p with what Nix has.
func (c *cacheContents) checkInfo(t *testing.T, s *local.Store, p store.StorePath) {
	t.Helper()
	got, err := s.PathInfo(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range c.PathInfo {
		if want.Path != store.DefaultDir.Join(p) {
			continue
		}
		if got.NarHash.Text(store.SRI) != want.NarHash || got.NarSize != want.NarSize || got.Ultimate ||
			!slices.Equal(store.SortPaths(got.References), parsePaths(t, want.References)) {
			t.Errorf("%s is %+v, want %+v", p, got, want)
		}
		return
	}
	t.Errorf("contents.json does not have %s", p)
}

func openCache(t *testing.T, url string, o cache.Options) *cache.Cache {
	t.Helper()
	o.Attempts = 1
	c, err := cache.Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// substituting makes a Realiser that builds nothing.
func substituting(t *testing.T, s *local.Store, subs ...realiser.Substituter) *realiser.Realiser {
	return open(t, s, nil, func(o *realiser.Options) {
		o.MaxJobs, o.Substituters = realiser.NoBuilds, subs
	})
}

// TestSubstituteFromNixCaches substitutes a closure from caches in every
// compression that real Nix wrote, from a directory and over HTTP.
func TestSubstituteFromNixCaches(t *testing.T) {
	contents, plain := readContents(t), filepath.Join(fixture.Unpack(t, "caches/plain.tar.zst"), "plain")
	server := httptest.NewServer(http.FileServer(http.Dir(plain)))
	t.Cleanup(server.Close)
	for _, c := range []string{"xz", "zstd", "bzip2", "gzip", "br", "none", "lz4", "lzip", "lzma"} {
		for _, base := range []string{"file://" + plain, server.URL} {
			scheme, _, _ := strings.Cut(base, ":")
			t.Run(c+" "+scheme, func(t *testing.T) {
				t.Parallel()
				s := openStore(t)
				r := substituting(t, s, openCache(t, base+"/compression-"+c, cache.Options{}))
				for _, p := range []store.StorePath{contents.path(t, "top", "out"), contents.path(t, "leaf", "out")} {
					if err := r.Realise(t.Context(), store.Caller{}, p); err != nil {
						t.Fatal(err)
					}
					contents.checkInfo(t, s, p)
				}
			})
		}
	}
}

// TestSignedCache takes paths only with a signature by a trusted key.
func TestSignedCache(t *testing.T) {
	contents, plain := readContents(t), filepath.Join(fixture.Unpack(t, "caches/plain.tar.zst"), "plain")
	top := contents.path(t, "top", "out")
	for _, c := range []struct {
		key  string
		good bool
	}{{"cache.example.org-1", true}, {"other.example.org-1", false}, {"cache.example.org-1.impostor", false}} {
		key, err := store.ParsePublicKey(string(fixture.Read(t, "caches/keys/"+c.key+".pub")))
		if err != nil {
			t.Fatal(err)
		}
		s := openStore(t)
		r := substituting(t, s, openCache(t, "file://"+filepath.Join(plain, "signed"),
			cache.Options{Policy: cache.Policy{Keys: store.NewKeyRing(key), RequireSigs: true}}))
		err = r.Realise(t.Context(), store.Caller{}, top)
		if c.good && err != nil || !c.good && !errors.Is(err, store.ErrBadSignature) {
			t.Errorf("%s: %v", c.key, err)
		}
		if s.IsPresent(top) != c.good {
			t.Errorf("%s: the path is present: %v", c.key, s.IsPresent(top))
		}
	}
}

// TestContentAddressedFromCache verifies content addresses, self-references
// included, against the objects that Nix made.
func TestContentAddressedFromCache(t *testing.T) {
	contents, plain := readContents(t), filepath.Join(fixture.Unpack(t, "caches/plain.tar.zst"), "plain")
	s := openStore(t)
	r := substituting(t, s, openCache(t, "file://"+filepath.Join(plain, "realisations"),
		cache.Options{Policy: cache.Policy{RequireSigs: true}}))
	self := 0
	for _, drv := range []string{"caLeaf", "caTop"} {
		for output := range contents.Outputs[drv] {
			p := contents.path(t, drv, output)
			if err := r.Realise(t.Context(), store.Caller{}, p); err != nil {
				t.Fatal(err)
			}
			contents.checkInfo(t, s, p)
			if refs, err := s.References(t.Context(), p); err != nil {
				t.Fatal(err)
			} else if slices.Contains(refs, p) {
				self++
			}
		}
	}
	if self == 0 {
		t.Error("no object refers to itself")
	}
}

// TestDerivationsFromCache builds a derivation that only a cache has.
func TestDerivationsFromCache(t *testing.T) {
	box := realSandbox(t)
	contents, plain := readContents(t), filepath.Join(fixture.Unpack(t, "caches/plain.tar.zst"), "plain")
	s := openStore(t)
	c := openCache(t, "file://"+filepath.Join(plain, "derivations"), cache.Options{})
	r := open(t, s, box, func(o *realiser.Options) { o.Substituters = []realiser.Substituter{onlyDerivations{c}} })
	drv := parsePath(t, contents.Drvs["top"])
	o, err := r.Build(t.Context(), store.Caller{}, realiser.Request{Targets: []realiser.Target{{Drv: drv}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Err(); err != nil || o.Results[0].Status != result.Built {
		t.Fatalf("%v: %v", o.Results[0].Status, err)
	}
	if p := contents.path(t, "top", "out"); !s.IsPresent(p) {
		t.Errorf("%s is not there", p)
	}
}

// onlyDerivations hides what is not a derivation or a source.
type onlyDerivations struct{ *cache.Cache }

func (o onlyDerivations) NarInfo(ctx context.Context, p store.StorePath) (*store.NarInfo, error) {
	if info, err := o.Cache.NarInfo(ctx, p); err != nil || info.Deriver.IsZero() {
		return info, err
	}
	return nil, store.ErrNotFound
}
