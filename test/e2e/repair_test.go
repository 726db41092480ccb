package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"larder/test/harness"
)

// behind is where an object lies behind the mount: as the daemon sees it.
func behind(s *harness.Site, path string) string {
	return fmt.Sprintf("/proc/%d/root%s", s.Daemon, path)
}

// damage changes a file of an object behind the mount.
func damage(t *testing.T, file string) {
	t.Helper()
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o444); err != nil {
		t.Fatal(err)
	}
}

// What is repaired below a mount is seen through it. An object that somebody has open is not exchanged under his hands.
func TestRepairBelowTheMount(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can look behind the mount")
	}
	s := harness.NewSite(t)
	c := s.NewCache(10)
	s.Configure([]*harness.Cache{c}, "auto-optimise-store = true")
	s.Mount()
	fetched := c.Add("fetched", harness.Tree{"text": "fetched", "more": "fetched"})
	built := s.Derive(harness.Recipe{Name: "built", Script: "mkdir $out; echo -n built > $out/text"})[0]
	objects := map[string]string{"fetched": fetched.Path, "built": built.Out}
	read := func(when string) {
		t.Helper()
		for want, path := range objects {
			if got := s.Read(path + "/text"); got != "ok "+want {
				t.Errorf("%s: %q", when, got)
			}
		}
	}
	read("at first")
	s.Must("store", "verify", "--all", "--check-contents")

	user := s.Start("sh", "-c", `exec 3< "$0/text"; echo has it; exec sleep 1000`, fetched.Path)
	harness.Eventually(t, "it is in use", func() bool { return user.Stdout() != "" })
	for _, path := range objects {
		damage(t, behind(s, path)+"/text")
	}
	r := s.Larder("store", "verify", "--all", "--check-contents", "--repair")
	if r.Status != 1 || !strings.Contains(r.Err, "2 bad, 1 of them repaired") || !strings.Contains(r.Err, "has "+fetched.Path+" open in the mount") {
		t.Errorf("while it is in use: %+v", r)
	}
	user.Signal(9)
	user.Wait()
	harness.Eventually(t, "the kernel has forgotten it", func() bool {
		return s.Larder("realise", "--repair", fetched.Path).Status == 0
	})
	read("repaired")
	s.Must("store", "verify", "--all", "--check-contents")
	for _, name := range s.List() {
		if strings.HasPrefix(name, ".") {
			t.Errorf("the mount shows %s", name)
		}
	}
	s.Unmount()
}

// The post-build hook sees the objects at their store paths although the store is mounted: it lives behind the mount.
func TestPostBuildHookBehindTheMount(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	said := filepath.Join(s.Top, "said")
	hook := filepath.Join(s.Top, "hook")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\ncat $OUT_PATHS > "+said+"; echo $DRV_PATH >> "+said+"; echo \"$NIX_CONFIG\" | grep ^post-build-hook >> "+said+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.Configure(nil, "post-build-hook = "+hook)
	s.Mount()
	built := s.Derive(harness.Recipe{Name: "built", Script: "echo built > $out"})[0]
	if got := s.Read(built.Out); got != "ok built" {
		t.Errorf("it reads %q", got)
	}
	text, err := os.ReadFile(said)
	if want := "built\n" + built.Drv + "\npost-build-hook = " + hook + "\n"; err != nil || string(text) != want {
		t.Errorf("the hook said %q, %v\nwant %q", text, err, want)
	}
	s.Unmount()
}
