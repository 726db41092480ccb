package e2e_test

import (
	"slices"
	"syscall"
	"testing"

	"larder/test/harness"
)

// However a mount is ended while programs wait and another has its directory there: it ends in bounded time, they get
// errors, and the plain directory is left.
func TestEndWhileInUse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		end    func(s *harness.Site)
		status int
	}{
		{"unmount", func(s *harness.Site) { s.Must("unmount", "--grace", "100ms", s.Dir) }, 0},
		{"SIGTERM", func(s *harness.Site) { s.Mounter.Signal(syscall.SIGTERM) }, 0},
		{"SIGINT", func(s *harness.Site) { s.Mounter.Signal(syscall.SIGINT) }, 0},
		{"SIGHUP", func(s *harness.Site) { s.Mounter.Signal(syscall.SIGHUP) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := harness.NewSite(t)
			cache := s.NewCache(10)
			s.Configure([]*harness.Cache{cache})
			s.Mount()
			here := cache.Add("here", helloTree)
			if got := s.Read(here.Path + "/text"); got != "ok inside" {
				t.Fatalf("got %q", got)
			}
			left := []string{here.Path}
			var waiting []*harness.Process
			for _, w := range sources(s, cache, "wanted", helloTree, ": builder-"+c.name+"\n"+makeHello) {
				waiting = append(waiting, s.Touch("read", w.path+"/text"))
				s.AwaitWaiters(w.path, 1)
				if w.drv != "" {
					left = append(left, w.drv)
				}
			}
			sitter := s.Start("sh", "-c", `cd "$0" && echo there && exec sleep 1000`, here.Path)
			harness.Eventually(t, "somebody sits there", func() bool { return sitter.Stdout() == "there\n" })
			harness.Eventually(t, "the builder runs", func() bool { return len(harness.Processes("builder-"+c.name)) > 0 })

			c.end(s)
			if r := s.Mounter.Wait(); r.Status != c.status {
				t.Errorf("larder mount: %+v", r)
			}
			for _, p := range waiting {
				if got := p.Wait(); !slices.Contains([]string{"EINTR", "EIO", "ENOTCONN", "ECONNABORTED"}, got.Out) {
					t.Errorf("who waited got %q", got.Out)
				}
			}
			s.CheckGone()
			if pids := harness.Processes("builder-" + c.name); len(pids) > 0 {
				t.Errorf("builders still live: %v", pids)
			}
			s.CheckObjects(left...)
		})
	}
}
