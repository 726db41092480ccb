package cli_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var serving = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// published makes a store with two paths and a signed cache of them.
func published(t *testing.T, compression string) (l *larder, paths []string, key string) {
	t.Helper()
	l = newLarder(t)
	paths, key = publish(l, compression)
	return l, paths, key
}

func publish(l *larder, compression string) (paths []string, key string) {
	l.t.Helper()
	l.write("tree/file", strings.Repeat("contents\n", 10_000))
	one := l.ok("add", "tree")
	two := l.ok("add", "--reference", one, "--name", "two", "tree/file")
	key = l.ok("key", "generate", "test-1", "secret")
	_, stderr, status := l.run("-v", "cache", "push", "--to", "file://"+l.dir+"/cache?secret-key="+l.dir+"/secret&compression="+compression, two)
	if status != 0 || !strings.Contains(stderr, "pushed ") {
		l.t.Fatalf("status %d\n%s", status, stderr)
	}
	return []string{one, two}, key
}

// consumer is an empty store of the same store directory.
func consumer(t *testing.T, of *larder, options ...string) *larder {
	l := newLarder(t)
	l.options = append([]string{"--store-dir", of.dir + "/store", "--object-dir", l.dir + "/objects", "--state-dir", l.dir + "/state"}, options...)
	return l
}

func TestPushAndSubstitute(t *testing.T) {
	t.Parallel()
	l, paths, key := published(t, "zstd")
	for name, url := range map[string]string{
		"directory":        "file://" + l.dir + "/cache",
		"served directory": l.start(serving, "cache", "serve", "--port", "0", l.dir+"/cache"),
		"served store":     l.start(serving, "cache", "serve", "--port", "0", "--key", l.dir+"/secret"),
		"store, zstd":      l.start(serving, "cache", "serve", "--port", "0", "--key", l.dir+"/secret", "--zstd"),
	} {
		t.Run(name, func(t *testing.T) {
			c := consumer(t, l, "--option", "substituters", url, "--option", "trusted-public-keys", key)
			if got := c.ok("realise", paths[1]); got != paths[1] {
				t.Fatal(got)
			}
			if got := c.ok("query", "references", paths[1]); got != paths[0] {
				t.Errorf("references: %s", got)
			}
			if c.ok("nar", "hash", paths[1]) != l.ok("nar", "hash", paths[1]) {
				t.Error("it is not the same")
			}
			// These are content-addressed. What is not needs a signature: see TestUnsigned.
		})
	}
	// Pushing again changes nothing.
	before, err := os.ReadDir(l.dir + "/cache/nar")
	if err != nil {
		t.Fatal(err)
	}
	l.ok("cache", "push", "--to", "file://"+l.dir+"/cache", paths[1])
	if after, err := os.ReadDir(l.dir + "/cache/nar"); err != nil || len(after) != len(before) {
		t.Errorf("%d files became %d, %v", len(before), len(after), err)
	}
}

// TestUnsigned: a built path from a cache that nobody trusts is refused.
func TestUnsigned(t *testing.T) {
	t.Parallel()
	l := newLarder(t)
	l.canBuild()
	out := l.ok("realise", l.derivation("built", "echo > $out", nil, ""))
	l.ok("cache", "push", "--to", "file://"+l.dir+"/cache", out)
	c := consumer(t, l, "--option", "substituters", "file://"+l.dir+"/cache")
	if _, stderr, status := c.run("realise", out); status != 1 || !strings.Contains(stderr, "signature") {
		t.Errorf("status %d\n%s", status, stderr)
	}
	c.fails(1, "", "path-info", out)
	c.options = append(c.options, "--option", "require-sigs", "false")
	c.ok("realise", out)
}

// TestNixCopies: the real Nix takes what we push and what we serve, and checks our signatures.
func TestNixCopies(t *testing.T) {
	t.Parallel()
	nix, err := exec.LookPath("nix")
	if err != nil {
		t.Skipf("no Nix: %v (Debian: nix-bin)", err)
	}
	l := newLarder(t)
	l.options = []string{"--store-dir", "/nix/store", "--object-dir", l.dir + "/objects", "--state-dir", l.dir + "/state"}
	paths, key := publish(l, "xz")
	for name, url := range map[string]string{
		"directory":        "file://" + l.dir + "/cache",
		"served directory": l.start(serving, "cache", "serve", "--port", "0", l.dir+"/cache"),
		"served store":     l.start(serving, "cache", "serve", "--port", "0", "--key", l.dir+"/secret"),
		"store, zstd":      l.start(serving, "cache", "serve", "--port", "0", "--key", l.dir+"/secret", "--zstd"),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Cleanup(func() { makeRemovable(t, dir) })
			cmd := exec.Command(nix, "copy", "--extra-experimental-features", "nix-command", "--from", url, "--to", "local?root="+dir,
				"--option", "trusted-public-keys", key, paths[1])
			cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+dir+"/cache")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("nix copy: %v\n%s", err, out)
			}
			for _, p := range paths {
				if l.ok("nar", "hash", dir+p) != l.ok("nar", "hash", p) {
					t.Errorf("Nix has something else at %s", p)
				}
			}
		})
	}
}

// TestFailingCache: its failure is said once, in words for people: as the error, or as a warning if another cache had the path.
func TestFailingCache(t *testing.T) {
	t.Parallel()
	l, paths, key := published(t, "none")
	nowhere, good := "file://"+l.dir+"/nowhere", "file://"+l.dir+"/cache"
	consumer(t, l, "--option", "substituters", nowhere).fails(1, l.dir+"/nowhere: no such file", "realise", paths[0])

	c := consumer(t, l, "--option", "substituters", nowhere+"?priority=1 "+good, "--option", "trusted-public-keys", key)
	_, stderr, status := c.run("realise", paths[0])
	want := "warning: a substituter failed (path " + paths[0] + "): binary cache " + nowhere
	if status != 0 || !strings.Contains(stderr, want) || strings.Contains(stderr, "level=") {
		t.Errorf("status %d\n%s\nwant %q", status, stderr, want)
	}
	if why := consumer(t, l, "--option", "substituters", nowhere).ok("why", paths[0]); !strings.Contains(why, " is failed\n  "+nowhere+" could not be asked") {
		t.Errorf("why: %s", why)
	}
}

// TestForeignCache: one of another store directory has nothing, which is not a failure; what can be built is.
func TestForeignCache(t *testing.T) {
	t.Parallel()
	l := newLarder(t)
	l.canBuild()
	l.write("foreign/nix-cache-info", "StoreDir: /gnu/store\n")
	l.options = append(l.options, "--option", "substituters", "file://"+l.dir+"/foreign")
	drv := l.derivation("built", "echo > $out", nil, "")
	out, stderr, status := l.run("realise", drv)
	warning := "warning: a binary cache is of no use (cache file://" + l.dir + "/foreign): it holds paths of /gnu/store, not of " + l.dir + "/store\n"
	if status != 0 || !strings.HasSuffix(out, "-built\n") || strings.Count(stderr, warning) != 1 {
		t.Errorf("status %d, %q\n%s\nwant %s", status, out, stderr, warning)
	}
	_, stderr, _ = l.run("cache", "push", "--to", "file://"+l.dir+"/foreign", drv)
	if !strings.HasPrefix(stderr, "error: ") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("pushing says %q", stderr)
	}
}
