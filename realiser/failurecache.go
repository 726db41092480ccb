package realiser

import (
	"context"
	"time"

	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
)

// FailureCache remembers builds that failed for good, beyond the life of a Realiser. *local.Store is one.
type FailureCache interface {
	// Failure is what is remembered of the first of the paths of which something is, or nil.
	Failure(ctx context.Context, paths ...store.StorePath) (*store.Failure, error)
	// RememberFailures replaces what was remembered of the same paths.
	RememberFailures(ctx context.Context, failures ...store.Failure) error
}

// failureKeys are the paths under which the failure of this build is remembered: its outputs, or the derivation where
// they are not known.
func (d *drvRun) failureKeys() []store.StorePath {
	var keys []store.StorePath
	for _, name := range d.drv.OutputNames() {
		if p := d.drv.Outputs[name].Path; !p.IsZero() {
			keys = append(keys, p)
		}
	}
	if len(keys) == 0 {
		keys = append(keys, d.path)
	}
	return keys
}

// failedBefore tells whether the build is known to fail. It is asked before anything is done for the build, and again under
// the locks of its outputs: another process may have failed meanwhile.
func (d *drvRun) failedBefore() (failed bool, res ending) {
	if d.opt.FailureCache == nil || d.g.key.mode != ModeRealise {
		return false, ending{}
	}
	f, err := d.opt.FailureCache.Failure(d.g.ctx, d.failureKeys()...)
	if err != nil {
		return true, d.g.failed(result.MiscFailure, err)
	}
	if f == nil {
		return false, ending{}
	}
	return true, d.g.failf(result.CachedFailure, "builder for '%s' failed previously (cached since %s; 'larder failures clear' forgets it): %s",
		d.name, f.Time.Local().Format(time.DateTime), f.Error)
}

// rememberFailure remembers that the build failed, if it would do so again. A fixed-output or impure build may not: it
// depends on more than its inputs. Nor need one of which somebody wanted more rounds than the settings do.
func (d *drvRun) rememberFailure(res ending) {
	if d.opt.FailureCache == nil || res.err == nil || d.g.key.mode != ModeRealise || d.graph.urgencyOf(d.g).rounds > d.opt.Repeat+1 {
		return
	}
	switch res.status {
	case result.PermanentFailure, result.OutputRejected, result.NotDeterministic:
	default:
		return
	}
	switch d.drv.Kind() {
	case derivation.FixedOutput, derivation.Impure:
		return
	}
	failures := make([]store.Failure, 0, 1)
	for _, p := range d.failureKeys() {
		failures = append(failures, store.Failure{Path: p, Drv: d.path, Status: res.status.String(), Error: res.err.Error(), Time: d.opt.Now()})
	}
	if err := d.opt.FailureCache.RememberFailures(context.WithoutCancel(d.g.ctx), failures...); err != nil {
		d.opt.Logger.Warn("a failure cannot be remembered", "drv", d.name, "err", err)
	}
}
