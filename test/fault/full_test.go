package fault_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/test/harness"
)

// Where the disk of the objects is full, what does not fit fails with a clear error and leaves nothing; with room it works.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	s := harness.NewSite(t)
	s.Objects = filepath.Join(s.Top, "small")
	if err := os.Mkdir(s.Objects, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("larder-test", s.Objects, "tmpfs", 0, "size=1m,mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(s.Objects, unix.MNT_DETACH) })
	c := s.NewCache(10)
	s.Configure([]*harness.Cache{c}, "build-dir = "+filepath.Join(s.Top, "builds"))
	s.Mount()
	small := c.Add("small", harness.Tree{"text": "inside"})
	if got := s.Read(small.Path + "/text"); got != "ok inside" {
		t.Fatalf("what fits: %q", got)
	}
	large := c.Add("large", harness.Tree{"first": "x", "large": strings.Repeat("0123456789abcdef", 128<<10), "text": "inside"})
	d := s.Derive(harness.Recipe{Name: "derived",
		Script: "mkdir $out; x=0123456789abcdef; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17; do x=$x$x; done; printf $x > $out/large; printf inside > $out/text"})[0]

	for _, p := range []string{large.Path, d.Out} {
		if got := s.Read(p + "/text"); got != "EIO" {
			t.Errorf("%s: what does not fit: %q", p, got)
		}
	}
	why := s.Must("why", large.Path)
	if !strings.Contains(why, "no space left on device") {
		t.Errorf("larder why: %s", why)
	}
	r := s.Larder("realise", large.Path)
	if r.Status != 1 || !strings.Contains(r.Err, "no space left on device") || !strings.Contains(r.Err, "larder gc") {
		t.Errorf("larder realise: %+v", r)
	}
	file := filepath.Join(s.Top, "file")
	if err := os.WriteFile(file, make([]byte, 2<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := s.Larder("add", file); r.Status != 1 || !strings.Contains(r.Err, "no space left on device") {
		t.Errorf("larder add: %+v", r)
	}
	s.CheckValid(small.Path, d.Drv)
	s.CheckObjects(small.Path, d.Drv)

	if err := unix.Mount("", s.Objects, "", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	s.Must("realise", large.Path, d.Drv)
	for _, p := range []string{large.Path, d.Out} {
		if got := s.Read(p + "/text"); got != "ok inside" {
			t.Errorf("%s: with room: %q", p, got)
		}
	}
	added := s.Must("add", file)
	s.Unmount()
	s.CheckObjects(small.Path, d.Drv, large.Path, d.Out, added)
}
