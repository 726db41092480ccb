package fault_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/test/harness"
)

// Where the disk of the database is full, accesses fail, and larder says why; with room, and opened anew, the store is what
// it was. In between it refuses everything that the kernel does not know already: nobody can tell what has been committed.
func TestStateDiskFull(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	s := harness.NewSite(t)
	if err := os.Mkdir(s.State, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("larder-test", s.State, "tmpfs", 0, "size=16m,mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(s.State, unix.MNT_DETACH) })
	c := s.NewCache(10)
	s.Configure([]*harness.Cache{c})
	s.Mount()
	add := func(i int) *harness.Object { return c.Add(fmt.Sprint("object-", i), harness.Tree{"text": "inside"}) }
	ballast := filepath.Join(s.State, "ballast")
	var valid []string
	failed := false
	// Files that the database has grown to already hold a few registrations more.
	for i := 0; !failed; i++ {
		if i == 1 {
			fill(t, ballast)
		}
		o := add(i)
		switch got := s.Read(o.Path + "/text"); {
		case got == "ok inside" && i < 1000:
			valid = append(valid, o.Path)
		case got == "EIO" && i > 0:
			failed = true
		default:
			t.Fatalf("%s: got %q", o.Path, got)
		}
	}
	r := s.Larder("why", add(len(valid)).Path)
	if r.Status == 0 || !strings.Contains(r.Err, "no space left on device") || !strings.Contains(r.Err, "restart") {
		t.Errorf("larder why: %+v", r)
	}
	if got := s.Touch("stat", s.Dir).Wait(); got.Out != "ok 40555" {
		t.Errorf("the mount: %q", got.Out)
	}
	s.Must("unmount", s.Dir)
	s.Mounter.Wait()
	s.CheckGone()

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.Mount()
	s.CheckValid(valid...)
	valid = append(valid, add(len(valid)).Path)
	for _, p := range valid {
		if got := s.Read(p + "/text"); got != "ok inside" {
			t.Errorf("with room: %q", got)
		}
	}
	s.Unmount()
	s.CheckObjects(valid...)
}

// fill takes all the room there is.
func fill(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}
