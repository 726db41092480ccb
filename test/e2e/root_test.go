package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"larder/test/harness"
)

// While programs wait, nothing else in the root does, even after the kernel's caches were dropped.
func TestRootNeverWaits(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	c := s.NewCache(10)
	s.Configure([]*harness.Cache{c})
	s.Mount()
	here := c.Add("here", helloTree)
	if got := s.Read(here.Path + "/text"); got != "ok inside" {
		t.Fatalf("got %q", got)
	}
	absent := c.Add("absent", helloTree)
	absent.Hold(len(absent.NAR) / 2)
	ways := withoutGuesses("stat", "exec", "chdir", "readdir")
	results := map[string]string{"stat": "ok 40555", "exec": "EACCES", "chdir": "ok", "readdir": "ok bin text"}
	var waiting []*harness.Process
	for _, op := range ways {
		waiting = append(waiting, s.Touch(op, absent.Path))
	}
	s.AwaitWaiters(absent.Path, len(ways))
	check := func() {
		t.Helper()
		for _, c := range [][3]string{
			{"mkdir", s.Dir + "/new", "EROFS"},
			{"mkdir", absent.Path, "EEXIST"},
			{"read", here.Path + "/text", "ok inside"},
			{"readdir", s.Dir, "ok " + filepath.Base(here.Path)},
			{"stat", s.Dir + "/0123456789abcdfghijklmnpqrsvwxyz-unknown", "ENOENT"},
		} {
			if got := s.Touch(c[0], c[1]).Wait(); got.Out != c[2] {
				t.Errorf("%s %s: got %q, want %q", c[0], c[1], got.Out, c[2])
			}
		}
	}
	check()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
		t.Logf("not tried with dropped caches: %v", err)
	}
	check()
	if n := s.Waiters(absent.Path); n != len(ways) {
		t.Errorf("%d of %d still wait", n, len(ways))
	}
	absent.Release()
	for i, p := range waiting {
		if got := p.Wait(); got.Out != results[ways[i]] {
			t.Errorf("%s: got %q, want %q", ways[i], got.Out, results[ways[i]])
		}
	}
	s.Unmount()
}
