package realiser

import (
	"strings"
	"testing"

	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
)

func preferLocal(d *derivation.Derivation) { d.Env["preferLocalBuild"] = "1" }

// max-jobs = 0: nothing is built here but what prefers to be.
func TestNoJobs(t *testing.T) {
	l := newLab(t, func(o *Options) { o.MaxJobs = NoBuilds })
	in, _ := l.store.drv(t, "input", nil)
	drv, _ := l.store.drv(t, "top", []store.StorePath{in})
	res := l.build(t, false, drv)[0]
	if res.Status != result.MiscFailure || !strings.Contains(res.Err.Error(), "max-jobs = 0") || !strings.Contains(res.Err.Error(), "machine") {
		t.Errorf("%v: %v", res.Status, res.Err)
	}
	local, _ := l.store.drv(t, "local", nil, preferLocal)
	if res := l.build(t, false, local)[0]; res.Status != result.Built {
		t.Errorf("preferLocalBuild: %v: %v", res.Status, res.Err)
	}
	above, _ := l.store.drv(t, "above", []store.StorePath{drv}, preferLocal)
	if res := l.build(t, false, above)[0]; res.Status != result.DependencyFailed || !strings.Contains(res.Err.Error(), "max-jobs = 0") {
		t.Errorf("preferLocalBuild above another: %v: %v", res.Status, res.Err)
	}
}
