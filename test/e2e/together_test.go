package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"larder/test/harness"
)

// A second mount or daemon of a store is refused, and says who has it.
func TestSecondDaemonIsRefused(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	s.Configure(nil)
	s.Mount()
	other := filepath.Join(s.Top, "other")
	for _, args := range [][]string{{"mount", s.Dir}, {"mount", other}, {"mount", "--background", s.Dir}, {"daemon"}} {
		r := s.Larder(args...)
		if r.Status != 1 || r.Out != "" || strings.Count(r.Err, "\n") != 0 {
			t.Errorf("larder %v: %+v", args, r)
		}
		contains(t, fmt.Sprint("larder ", args), r.Err, fmt.Sprintf("process %d", s.Daemon), "mounted at "+s.Dir)
	}
	// With another state it is another store, but the directory is taken.
	r := s.Larder("--state-dir", filepath.Join(s.Top, "state-2"), "mount", s.Dir)
	if r.Status != 1 {
		t.Errorf("another store in the same place: %+v", r)
	}
	contains(t, "another store in the same place", r.Err, s.Dir)
	if got := s.Status(); got.PID != s.Daemon || got.Mount != s.Dir {
		t.Errorf("the first one is not what it was: %+v", got)
	}
	s.Unmount()
}

// Commands without a daemon take turns.
func TestCommandsTakeTurns(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	s.Configure(nil)
	var all []*harness.Process
	for i := range 6 {
		file := filepath.Join(s.Top, fmt.Sprint("file-", i))
		if err := os.WriteFile(file, []byte(file), 0o644); err != nil {
			t.Fatal(err)
		}
		all = append(all, s.StartLarder("add", file))
	}
	var paths []string
	for _, p := range all {
		r := p.Wait()
		if r.Status != 0 {
			t.Errorf("%+v", r)
		}
		paths = append(paths, r.Out)
	}
	s.CheckObjects(paths...)
	if got := strings.Fields(s.Must(append([]string{"query", "closure"}, paths...)...)); len(got) != len(paths) {
		t.Errorf("closure: %q", got)
	}
}

// A mount in the background goes on without the command, and its daemon serves the others.
func TestBackground(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	c := s.NewCache(10)
	s.Configure([]*harness.Cache{c})
	s.Must("mount", "--background", s.Dir)
	status := s.Status()
	s.Daemon = status.PID
	if status.Mount != s.Dir {
		t.Errorf("status: %+v", status)
	}
	o := c.Add("object", helloTree)
	if got := s.Read(o.Path + "/text"); got != "ok inside" {
		t.Errorf("got %q", got)
	}
	mounters := harness.Processes(s.Dir)
	if !slices.Contains(mounters, s.Daemon) || len(mounters) < 2 {
		t.Errorf("processes of the mount: %v, its daemon is %d", mounters, s.Daemon)
	}
	s.Must("unmount", s.Dir)
	harness.Eventually(t, "all its processes have ended", func() bool { return len(harness.Processes(s.Dir)) == 0 })
	s.CheckGone()
	s.CheckObjects(o.Path)
}
