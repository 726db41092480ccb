package realiser_test

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
	"larder/store/cache"
	"larder/test/fixture"
)

// TestPushedRealisations takes content-addressed outputs from a cache that Larder
// wrote: in either form, signed, and as real Nix.
func TestPushedRealisations(t *testing.T) {
	box := realSandbox(t)
	contents := readContents(t)
	key, err := store.GenerateKey("pusher", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "cache")
	s := openStore(t)
	_, top, ia := caPackages(t, s, contents)
	res := build(t, open(t, s, box, nil), realiser.Target{Drv: ia}, realiser.Target{Drv: top})
	if res[0].Err != nil || res[1].Err != nil {
		t.Fatal(res)
	}
	closure, err := s.Closure(t.Context(), []store.StorePath{res[0].Outputs["out"], res[1].Outputs["lib"]})
	if err != nil {
		t.Fatal(err)
	}
	if err := openCache(t, "file://"+dir, cache.Options{}).Push(t.Context(), s, closure, cache.PushOptions{Compression: "none", Key: &key}); err != nil {
		t.Fatal(err)
	}
	policy := cache.Options{Policy: cache.Policy{Keys: store.NewKeyRing(key.Public()), RequireSigs: true}}

	t.Run("nix", func(t *testing.T) {
		n := newNixBeside(t)
		for _, attr := range []string{"caTop", "iaOnCa"} {
			drv := strings.TrimSpace(n.ok("nix-instantiate", fixture.Path(t, "caches/pkgs.nix"), "-A", attr))
			if drv, _, _ = strings.Cut(drv, "!"); drv != contents.Drvs[attr] {
				t.Fatalf("%s is %s", attr, drv)
			}
			out := n.ok("nix-store", "-r", drv, "--option", "substituters", "file://"+dir, "--option", "trusted-public-keys", key.Public().String(), "-j0")
			if want := contents.Outputs[attr]["out"]; !strings.Contains(out, want) {
				t.Errorf("%s: %s, want %s", attr, out, want)
			}
		}
	})
	t.Run("older form", func(t *testing.T) {
		fresh := openStore(t)
		_, top, ia := caPackages(t, fresh, contents)
		r := substituting(t, fresh, openCache(t, "file://"+dir, policy))
		for _, res := range build(t, r, realiser.Target{Drv: ia}, realiser.Target{Drv: top}) {
			if res.Status != result.Substituted && res.Status != result.AlreadyValid {
				t.Errorf("%s: %v %v", res.Target, res.Status, res.Err)
			}
		}
	})
	t.Run("newer form", func(t *testing.T) {
		if err := os.RemoveAll(filepath.Join(dir, "realisations")); err != nil {
			t.Fatal(err)
		}
		fresh := openStore(t)
		_, top, _ := caPackages(t, fresh, contents)
		r := substituting(t, fresh, openCache(t, "file://"+dir, policy))
		if res := build(t, r, realiser.Target{Drv: top})[0]; res.Status != result.Substituted || res.Outputs["out"] != contents.path(t, "caTop", "out") {
			t.Errorf("%v %v %v", res.Status, res.Err, res.Outputs)
		}
	})
	t.Run("nobody's key", func(t *testing.T) {
		fresh := openStore(t)
		leaf, _, _ := caPackages(t, fresh, contents)
		r := substituting(t, fresh, openCache(t, "file://"+dir, cache.Options{Policy: cache.Policy{RequireSigs: true}}))
		if res := build(t, r, realiser.Target{Drv: leaf})[0]; !errors.Is(res.Err, store.ErrBadSignature) {
			t.Errorf("%v %v", res.Status, res.Err)
		}
	})
}
