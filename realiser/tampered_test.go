package realiser_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"larder/store"
	"larder/store/cache"
	"larder/store/local"
	"larder/test/fixture"
)

// TestTamperedCaches substitutes from caches that were tampered with. Nothing
// becomes valid that Nix does not make valid, a failure is one line, and nothing
// is left in the object directory but what is valid. (Whether we take all that
// Nix takes is tested in package cache.)
func TestTamperedCaches(t *testing.T) {
	root := filepath.Join(fixture.Unpack(t, "caches/tampered.tar.zst"), "tampered")
	key, err := store.ParsePublicKey(strings.TrimSpace(string(fixture.Read(t, "caches/keys/cache.example.org-1.pub"))))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range fixture.TSV(t, "caches/tampered.tsv") {
		for i, requireSigs := range []bool{true, false} {
			name := row[0] + map[bool]string{true: " require-sigs"}[requireSigs]
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				want := parsePath(t, row[1])
				allowed := strings.Fields(strings.Trim(row[3+3*i], "-"))
				s := openStore(t)
				r := substituting(t, s, openCache(t, "file://"+filepath.Join(root, row[0]),
					cache.Options{Policy: cache.Policy{Keys: store.NewKeyRing(key), RequireSigs: requireSigs}}))
				err := r.Realise(t.Context(), store.Caller{}, want)
				if valid := s.IsPresent(want); valid != (err == nil) {
					t.Errorf("valid: %v, error: %v", valid, err)
				}
				if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
					t.Errorf("the error has several lines: %q", err)
				}
				for _, got := range inObjectDir(t, s) {
					if !slices.Contains(allowed, got.Name()) || !s.IsPresent(got) {
						t.Errorf("%s is there, valid: %v; Nix makes valid %q", got, s.IsPresent(got), allowed)
					}
				}
			})
		}
	}
}

// inObjectDir lists the object directory, in which there must be store objects only.
func inObjectDir(t *testing.T, s *local.Store) (paths []store.StorePath) {
	t.Helper()
	entries, err := os.ReadDir(s.ObjectDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		p, err := store.ParseStorePath(e.Name())
		if err != nil {
			t.Errorf("left behind: %s", e.Name())
			continue
		}
		paths = append(paths, p)
	}
	return paths
}
