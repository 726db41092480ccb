package fault_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"larder/test/harness"
)

// The daemon is killed at any time while much is going on: downloads with references, builds that need one another. What
// is visible afterwards is whole, with all that it refers to; in the end everything comes.
func TestKilledAnyTime(t *testing.T) {
	t.Parallel()
	random := randomness(t)
	s := harness.NewSite(t)
	c := s.NewCache(10)
	s.Configure([]*harness.Cache{c})
	s.Mount()
	var wanted []string
	var references []*harness.Object
	for i := range 12 {
		o := c.Add(fmt.Sprint("object-", i), bigTree(random), references...)
		if i%3 == 0 {
			references = append(references, o)
		}
		wanted = append(wanted, o.Path+"/text")
	}
	var chain []harness.Derived
	var drvs []string
	for i := range 6 {
		chain = s.Derive(harness.Recipe{Name: fmt.Sprint("derived-", i), Inputs: chain,
			Script: "mkdir $out; for i in 1 2 3 4 5 6 7 8 9; do echo $in1 $i > $out/$i; done; printf inside > $out/text"})
		wanted = append(wanted, chain[0].Out+"/text")
		drvs = append(drvs, chain[0].Drv)
	}
	for range 5 {
		var waiting []*harness.Process
		for _, i := range random.Perm(len(wanted)) {
			waiting = append(waiting, s.Touch("read", wanted[i]))
		}
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
		s.KillDaemon()
		for _, p := range waiting {
			// ENOENT is the plain directory, seen when the mount had just gone.
			if got := p.Wait(); !slices.Contains([]string{"ok inside", "EINTR", "EIO", "ENOTCONN", "ECONNABORTED", "ENOENT"}, got.Out) {
				t.Errorf("who waited got %q", got.Out)
			}
		}
		s.Mounter.Wait()
		s.CheckGone()
		s.Mount()
		checkWhole(t, s)
	}
	for _, p := range wanted {
		if got := s.Read(p); got != "ok inside" {
			t.Errorf("%s: %q", p, got)
		}
	}
	checkWhole(t, s)
	s.Unmount()
	for _, p := range wanted {
		drvs = append(drvs, filepath.Dir(p))
	}
	s.CheckObjects(drvs...)
}

// checkWhole checks that all that is visible is valid and is what it was registered as.
func checkWhole(t *testing.T, s *harness.Site) {
	t.Helper()
	names := s.List()
	var paths []string
	for _, name := range names {
		paths = append(paths, filepath.Join(s.Dir, name))
	}
	var infos []struct {
		Path, NarHash string
		References    []string
	}
	if err := json.Unmarshal([]byte(s.Must(append([]string{"--json", "path-info"}, paths...)...)), &infos); err != nil {
		t.Fatal(err)
	}
	if len(infos) != len(paths) {
		t.Fatalf("%d infos of %d paths", len(infos), len(paths))
	}
	for _, i := range infos {
		if got := s.Must("nar", "hash", i.Path); got != i.NarHash {
			t.Errorf("%s is %s, registered as %s", i.Path, got, i.NarHash)
		}
		for _, r := range i.References {
			if !slices.Contains(paths, r) {
				t.Errorf("%s refers to %s, which is not visible", i.Path, r)
			}
		}
	}
}
