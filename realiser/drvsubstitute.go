package realiser

import (
	"fmt"

	"larder/realiser/result"
	"larder/store"
)

func (d *drvRun) allowSubstitutes() bool {
	return d.opt.AlwaysAllowSubstitutes || d.asks.AllowSubstitutes
}

// trySubstitutes substitutes the missing outputs. It is not done if the
// derivation has to be built.
func (d *drvRun) trySubstitutes(missing []store.StorePath) (done bool, res ending) {
	mode, fallback := ModeRealise, d.opt.Fallback
	if d.g.key.mode.repairs() {
		mode, fallback = ModeRepairPath, true
	}
	wants := make([]want, len(missing))
	for i, p := range missing {
		wants[i] = want{key: key{kind: substitutionGoal, path: p, mode: mode}}
	}
	goals, err := d.await(d.g, true, wants)
	if err != nil {
		return true, d.g.failed(result.MiscFailure, err)
	}
	var good, incomplete int
	var failed error // the first failure of a substituter
	for _, g := range goals {
		switch res := g.result; {
		case res.err == nil:
			good++
		case res.incomplete:
			incomplete++
		case res.status != result.NoSubstituters && failed == nil:
			failed = res.err
		}
	}
	if good == len(goals) {
		return true, ending{status: result.Substituted}
	}
	// If anything else is missing, too, another attempt could not bring all outputs; what lacks may even be one of them.
	d.retrySubstitution = incomplete > 0 && incomplete == len(goals)-good
	if failed != nil && !fallback {
		return true, d.g.failf(result.TransientFailure,
			"some substitutes for the outputs of derivation '%s' failed (the setting 'fallback' would build it then): %w", d.name, failed)
	}
	if failed != nil {
		d.logFailures(d.g, []error{failed})
	}
	return false, ending{}
}

// mayBuild says why nothing can be built here.
func (d *drvRun) mayBuild() error {
	if d.opt.MaxJobs != NoBuilds || d.asks.PreferLocalBuild && d.opt.Sandbox != nil {
		return nil
	}
	return fmt.Errorf("unable to build '%s': no local builds are allowed (max-jobs = 0), and there is no machine to build it on", d.name)
}
