package realiser

import (
	"context"
	"maps"
	"slices"

	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
)

// resolvable reports whether the derivation can't be built as it is, because it
// has placeholders for paths that were not known when it was made.
func (d *drvRun) resolvable() bool {
	if len(d.drv.InputDrvs) == 0 {
		return false
	}
	k := d.drv.Kind()
	return k != derivation.InputAddressed && k != derivation.FixedOutput || d.drv.IsDynamic()
}

// mustResolve is resolvable for who has the inputs. A fixed-output derivation of
// inputs whose paths are known is built as it is, so that the deriver of what it
// makes stays the one that was asked for.
func (d *drvRun) mustResolve() bool { return d.resolvable() || d.unknownInputs }

// resolve replaces the derivation by one that has the paths of its inputs, and
// leaves the rest to that one's goal. Whatever else resolves to the same is not
// built again: so a change that changes nothing ends here (early cut-off).
func (d *drvRun) resolve() ending {
	resolved, err := d.drv.Resolve(d.g.ctx, d.dir, d.built)
	if err != nil {
		return d.g.failed(result.MiscFailure, err)
	}
	path, err := resolved.Path(d.dir)
	if err != nil {
		return d.g.failed(result.MiscFailure, err)
	}
	d.hold(path)
	if _, err := d.store.AddDerivation(d.g.ctx, resolved); err != nil {
		return d.g.failf(result.MiscFailure, "resolved derivation of '%s': %w", d.name, err)
	}
	d.opt.Logger.Debug("resolved derivation", "drv", d.name, "resolved", d.dir.Join(path))
	goals, err := d.await(d.g, false, []want{{key: key{kind: derivationGoal, path: path, mode: d.g.key.mode}, outputs: d.wanted}})
	if err != nil {
		return d.g.failed(result.MiscFailure, err)
	}
	res := goals[0].result
	if res.err != nil {
		return res // about the resolved derivation: the log is found by that
	}
	// What nobody asked for here stays what it is, should the builder have made something else.
	made := maps.Clone(res.outputs)
	maps.DeleteFunc(made, func(name string, _ store.StorePath) bool {
		_, known := d.paths[name]
		return known && !slices.Contains(d.wanted, name)
	})
	if err := d.recordResolved(made); err != nil {
		return d.g.failed(result.MiscFailure, err)
	}
	maps.Copy(d.paths, made)
	// As in Nix: it has been run for the resolved derivation, if that was built, and is for the one that was asked for.
	if failed := d.runPostBuildHook(res.outputs); failed.err != nil {
		return failed
	}
	if res.status == result.AlreadyValid {
		res.status = result.ResolvesToAlreadyValid
	}
	return res
}

// builtAs returns a derivation and those that it was resolved to when its outputs
// were built, which have the logs.
func (r *Realiser) builtAs(ctx context.Context, p store.StorePath) ([]store.StorePath, error) {
	as := []store.StorePath{p}
	drv, err := r.derivation(ctx, p)
	if err != nil || !realised(drv) {
		return as, nil // the log of what is not here, or is damaged, may be here all the same
	}
	paths, _, err := r.outputPaths(ctx, drv)
	if err != nil {
		return as, err
	}
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		info, err := r.store.PathInfo(ctx, paths[name])
		if err != nil {
			return as, err
		}
		if !info.Deriver.IsZero() && !slices.Contains(as, info.Deriver) {
			as = append(as, info.Deriver)
		}
	}
	return as, nil
}
