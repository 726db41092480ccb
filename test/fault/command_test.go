package fault_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"larder/test/harness"
)

// A command that has the store open by itself is killed in the middle of a download and of a build: the next one finds the
// store free, and nothing of it.
func TestKilledCommand(t *testing.T) {
	t.Parallel()
	random := randomness(t)
	s := harness.NewSite(t)
	c := s.NewCache(10)
	s.Configure([]*harness.Cache{c})
	o := c.Add("object", bigTree(random))
	g := s.NewGate("gate")
	marker := ": builder-of-" + filepath.Base(s.Top)
	d := s.Derive(harness.Recipe{Name: "derived", Script: marker + "\nmkdir $out; echo inside > $out/text\n" + g.Script()})[0]
	for round := range 3 {
		o.Hold(random.IntN(len(o.NAR)))
		p := s.StartLarder("--json", "realise", o.Path, d.Drv)
		harness.Eventually(t, "the download is held", func() bool { return o.Gets() == round+1 })
		g.AwaitReached(round + 1)
		p.Signal(9)
		p.Wait()
		o.Release()
		harness.Eventually(t, "the builder is dead", func() bool { return len(harness.Processes(marker)) == 0 })
		for _, path := range []string{o.Path, d.Out} {
			if r := s.Larder("path-info", path); r.Status == 0 {
				t.Errorf("%s is valid: %+v", path, r)
			}
		}
		// Only who opens the store to write sweeps.
		s.Must("gc", "--dry-run")
		s.CheckObjects(d.Drv)
	}
	g.Open(1)
	s.Must("realise", o.Path, d.Drv)
	s.CheckObjects(o.Path, d.Drv, d.Out)
}

// SIGINT ends a command that is at work, with a line about it, and leaves nothing.
func TestInterruptedCommand(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	s.Configure(nil)
	g := s.NewGate("gate")
	marker := ": builder-of-" + filepath.Base(s.Top)
	d := s.Derive(harness.Recipe{Name: "derived", Script: marker + "\n" + g.Script() + "echo > $out"})[0]
	for _, mounted := range []bool{false, true} {
		t.Run(fmt.Sprint("daemon: ", mounted), func(t *testing.T) {
			s := s.In(t)
			if mounted {
				s.Mount()
			}
			before := g.Reached()
			p := s.StartLarder("realise", d.Drv)
			g.AwaitReached(before + 1)
			p.Signal(2)
			if r := p.Wait(); r.Status != 130 || !strings.Contains(r.Err, "interrupted") {
				t.Errorf("larder realise: %+v", r)
			}
			harness.Eventually(t, "the builder is dead", func() bool { return len(harness.Processes(marker)) == 0 })
			if mounted {
				s.Unmount()
			}
			s.CheckObjects(d.Drv)
		})
	}
}
