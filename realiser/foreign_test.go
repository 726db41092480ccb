package realiser_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"larder/nar"
	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
	"larder/store/cache"
	"larder/store/derivation"
)

// foreignCache makes a cache of /gnu/store with an object of one file, fixed by a flat hash, and returns its directory.
func foreignCache(t *testing.T, name, text string, change func(*store.NarInfo)) (dir string, ca store.ContentAddress) {
	t.Helper()
	dir = t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := nar.Dump(t.Context(), &b, file); err != nil {
		t.Fatal(err)
	}
	ca = store.ContentAddress{Method: store.Flat, Hash: store.SHA256.Sum([]byte(text))}
	there, err := store.Dir("/gnu/store").ContentPath(name, ca, store.References{})
	if err != nil {
		t.Fatal(err)
	}
	n := &store.NarInfo{URL: "x.nar", Compression: "none", PathInfo: store.PathInfo{Path: there, CA: ca,
		NarHash: store.SHA256.Sum(b.Bytes()), NarSize: uint64(b.Len())}}
	change(n)
	for name, text := range map[string]string{"nix-cache-info": "StoreDir: /gnu/store\n", "x.nar": b.String(),
		there.HashPart() + ".narinfo": n.Text("/gnu/store")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, ca
}

// A substituter of another store directory has what follows from its content alone, under another path. It needs no signature.
func TestContentFromAnotherStoreDirectory(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*store.NarInfo)
		status result.Status
	}{
		{"content-addressed", func(*store.NarInfo) {}, result.Substituted},
		{"not known as content-addressed", func(n *store.NarInfo) { n.CA = store.ContentAddress{} }, result.MiscFailure},
		{"with references", func(n *store.NarInfo) { n.References = []store.StorePath{n.Path} }, result.MiscFailure},
		{"another content", func(n *store.NarInfo) { n.NarHash = store.SHA256.Sum(nil) }, result.TransientFailure},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, ca := foreignCache(t, "hello.tar", "some text\n", c.change)
			s := openStore(t)
			drv := &derivation.Derivation{Name: "hello.tar", System: "x86_64-linux", Builder: "/bin/sh", Env: map[string]string{},
				Outputs: map[string]derivation.Output{"out": {CA: ca}}}
			drvPath := addDrv(t, s, drv)
			server := httptest.NewServer(http.FileServer(http.Dir(dir)))
			defer server.Close()
			for _, url := range []string{"file://" + dir, server.URL} {
				r := substituting(t, s, openCache(t, url, cache.Options{Policy: cache.Policy{RequireSigs: true}, Memory: s}))
				plan, err := r.Plan(t.Context(), []realiser.Target{{Drv: drvPath}})
				if err != nil || (len(plan.Substitute) == 1) != (c.status == result.Substituted || c.status == result.TransientFailure) {
					t.Errorf("%s: %+v %v", url, plan, err)
				}
				o, err := r.Build(t.Context(), store.Caller{}, realiser.Request{Targets: []realiser.Target{{Drv: drvPath}}})
				if err != nil {
					t.Fatal(err)
				}
				if got := o.Results[0]; got.Status != c.status {
					t.Errorf("%s: %v: %v", url, got.Status, got.Err)
				}
				if c.status != result.Substituted {
					continue
				}
				if info, err := s.PathInfo(t.Context(), drv.Outputs["out"].Path); err != nil || info.CA != ca {
					t.Errorf("%+v %v", info, err)
				}
				if _, err := s.Delete(t.Context(), drv.Outputs["out"].Path); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
