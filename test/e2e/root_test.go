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
	ways := [][2]string{{"stat", ""}, {"exec", ""}, {"read", "/text"}, {"readdir", ""}}
	var waiting []*harness.Process
	for _, w := range ways {
		waiting = append(waiting, s.Touch(w[0], absent.Path+w[1]))
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
		want := []string{"ok 40555", "EACCES", "ok inside", "ok bin text"}[i]
		if got := p.Wait(); got.Out != want {
			t.Errorf("%s: got %q, want %q", ways[i][0], got.Out, want)
		}
	}
	s.Unmount()
}
