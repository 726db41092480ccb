package fault_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"larder/test/harness"
)

// The daemon is killed in the middle of 300 builds: no builder survives it, what was finished stays and is whole, and the
// next daemon goes on and comes to the right end.
func TestKilledAmongManyBuilds(t *testing.T) {
	t.Parallel()
	random := randomness(t)
	s := harness.NewSite(t)
	s.Configure(nil, "max-jobs = 2")
	s.Mount()
	gate := s.NewGate("middle")
	const count = 300
	marker := "marker-of-" + filepath.Base(s.Top)
	recipes := make([]harness.Recipe, count)
	for i := range recipes {
		recipes[i] = harness.Recipe{Name: fmt.Sprintf("build-%03d", i), Script: fmt.Sprintf("echo %s %d > $out", marker, i)}
	}
	middle := 100 + random.IntN(50)
	recipes[middle].Script = gate.Script() + recipes[middle].Script
	var drvs, outs []string
	for _, d := range s.Derive(recipes...) {
		drvs, outs = append(drvs, d.Drv), append(outs, d.Out)
	}
	realise := append([]string{"realise"}, drvs...)
	first := s.StartLarder(realise...)
	gate.AwaitReached(1) // one of the two builders waits there, the other goes on
	running := harness.Processes(marker)
	s.KillDaemon()
	if r := first.Wait(); r.Status == 0 {
		t.Errorf("who waited was told that all is there: %s", r.Out)
	}
	s.Mounter.Wait()
	harness.Eventually(t, "no builder survives", func() bool {
		for _, pid := range running {
			if harness.Alive(pid) {
				return false
			}
		}
		return len(harness.Processes(marker)) == 0
	})
	s.CheckGone()
	gate.Open(2)
	s.Mount()
	checkWhole(t, s)
	if got := strings.Fields(s.Must(realise...)); len(got) != count {
		t.Errorf("%d outputs", len(got))
	}
	checkWhole(t, s)
	for i, out := range outs {
		if want := fmt.Sprintf("ok %s %d", marker, i); i%50 == 0 && s.Read(out) != want {
			t.Errorf("%s: %q", out, s.Read(out))
		}
	}
	s.Unmount()
	s.CheckObjects(append(drvs, outs...)...)
}
