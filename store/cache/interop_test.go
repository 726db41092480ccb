package cache_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"larder/nar"
	"larder/store"
	"larder/store/cache"
)

// nix runs the real Nix on a store of its own below dir.
func nix(t *testing.T, dir string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("nix"); err != nil {
		t.Skip("nix is not installed: ", err)
	}
	cmd := exec.Command("nix", append([]string{"--store", dir}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "NIX_CONFIG=experimental-features = nix-command\nsubstituters =")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nix %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// nixDir is a directory for a Nix store, which makes its files read-only.
func nixDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				os.Chmod(path, 0o700)
			}
			return nil
		})
	})
	return dir
}

func TestNixReadsWhatWasPushed(t *testing.T) {
	key := newKey(t, "larder-1")
	s := chain(t, 100_000)
	for _, compression := range []string{"xz", "zstd", "gzip", "bzip2", "br", "none"} {
		t.Run(compression, func(t *testing.T) {
			dir := nixDir(t)
			from := pushed(t, s, cache.PushOptions{Compression: compression, Key: &key, WriteListing: true})
			last := store.DefaultDir.Join(s.order[len(s.order)-1])
			nix(t, dir, "copy", "--from", "file://"+from, "--option", "trusted-public-keys", key.Public().String(), last)
			for _, p := range s.order {
				h := store.SHA256.New()
				if _, err := nar.Dump(t.Context(), h, filepath.Join(dir, "nix/store", p.String())); err != nil {
					t.Fatal(err)
				}
				if got := store.SumOf(store.SHA256, h); got != s.infos[p].NarHash {
					t.Errorf("%s: hash %v", p, got)
				}
			}
			if got := nix(t, "file://"+from, "store", "ls", last+"/"); !strings.Contains(got, "file") {
				t.Errorf("the listing: %q", got)
			}
		})
	}
}

func TestWhatNixPushesIsRead(t *testing.T) {
	dir := nixDir(t)
	tree := filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "file"), noise(200_000), 0o644); err != nil {
		t.Fatal(err)
	}
	p := strings.TrimSpace(nix(t, dir, "store", "add-path", tree))
	for _, compression := range []string{"xz", "zstd", "gzip", "bzip2", "br", "none", "lz4", "lzip", "lzma"} {
		to := t.TempDir()
		nix(t, dir, "copy", "--to", "file://"+to+"?compression="+compression, p)
		bothWays(t, to, func(t *testing.T, url string) {
			o := quick()
			o.Policy.RequireSigs = true // it is content-addressed
			c := open(t, url, o)
			n, err := c.NarInfo(t.Context(), storePath(t, p))
			if err != nil {
				t.Fatal(err)
			}
			if err := readNAR(t.Context(), c, n); err != nil {
				t.Errorf("%s: %v", compression, err)
			}
		})
	}
}
