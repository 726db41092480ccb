package e2e_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"larder/test/harness"
)

// A plain user mounts, substitutes, builds and unmounts, without any help by root.
func TestPlainUser(t *testing.T) {
	t.Parallel()
	s := harness.NewUserSite(t)
	c := s.NewCache(10)
	s.Configure([]*harness.Cache{c})
	s.Mount()
	o := c.Add("object", helloTree)
	d := s.Derive(harness.Recipe{Name: "derived", Script: makeHello},
		harness.Recipe{Name: "broken", Script: "echo no >&2; exit 1"},
		harness.Recipe{Name: "who", Script: "read a b c < /proc/self/uid_map; echo $a $c > $out"})
	for _, p := range []string{o.Path, d[0].Out} {
		for _, a := range accesses {
			want := a.want
			if a.op == "realpath" {
				want = "ok " + p + a.below
			}
			if got := s.Touch(a.op, p+a.below).Wait(); got.Out != want {
				t.Errorf("%s: got %q, want %q", a.op, got.Out, want)
			}
		}
	}
	if got := s.Touch("stat", d[1].Out).Wait(); got.Out != "EIO" {
		t.Errorf("a build that fails: %+v", got)
	}
	contains(t, "why", s.Must("why", d[1].Out), "is failed", "> no")
	if got := s.Read(d[2].Out); !strings.HasSuffix(got, " 1") {
		t.Errorf("a builder of a plain user sees the users %q, not one alone", got)
	}
	if got := s.Touch("stat", s.Dir+unknown).Wait(); got.Out != "ENOENT" {
		t.Errorf("an unknown path: %+v", got)
	}
	s.Unmount()
	s.CheckObjects(o.Path, d[0].Drv, d[0].Out, d[1].Drv, d[2].Drv, d[2].Out)
	info, err := os.Lstat(filepath.Join(s.Objects, filepath.Base(o.Path)))
	if err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != s.UID {
		t.Errorf("the object is not the user's: %v, %v", info, err)
	}
}

// A plain user's mount ends as root's does: by a signal, or because its daemon died.
func TestPlainUserEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *harness.Site){
		"SIGTERM":       func(s *harness.Site) { s.Mounter.Signal(syscall.SIGTERM) },
		"daemon killed": func(s *harness.Site) { s.KillDaemon() },
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.NewUserSite(t)
			c := s.NewCache(10)
			s.Configure([]*harness.Cache{c})
			for range 2 { // and the next mount finds nothing in its way
				s.Mount()
				o := c.Add("absent", helloTree)
				o.Hold(len(o.NAR) / 2)
				p := s.Touch("read", o.Path+"/text")
				s.AwaitWaiters(o.Path, 1)
				end(s)
				if got := p.Wait(); !slices.Contains([]string{"EINTR", "EIO", "ENOTCONN", "ECONNABORTED"}, got.Out) {
					t.Errorf("who waited got %q", got.Out)
				}
				s.Mounter.Wait()
				s.CheckGone()
			}
		})
	}
}

// Where a user says nothing, everything is in the user's own directories.
func TestPlainUserDefaults(t *testing.T) {
	t.Parallel()
	s := harness.NewUserSite(t)
	c := s.NewCache(10)
	s.ConfigureHome([]*harness.Cache{c})
	s.Mount()
	o := c.Add("object", helloTree)
	if got := s.Touch("exec", o.Path+"/bin/hello").Wait(); got.Out != "hello" {
		t.Errorf("got %+v", got)
	}
	s.Unmount()
	s.CheckObjects(o.Path)
	for _, f := range []string{".local/share/larder/db", "run/larder"} {
		if _, err := os.Stat(filepath.Join(s.Top, f)); err != nil {
			t.Error(err)
		}
	}
}
