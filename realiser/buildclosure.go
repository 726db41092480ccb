package realiser

import (
	"slices"

	"larder/realiser/result"
	"larder/store"
)

// realiseBuildClosures makes everything valid that exportBuildReferencesGraph is
// going to describe: all outputs of the derivations in the closures of the paths
// that it names. Release unlocks them for garbage collection.
func (d *drvRun) realiseBuildClosures(inputs []store.StorePath) (release func(), res ending) {
	release = func() {}
	drvs, err := d.buildClosures(inputs)
	if err != nil {
		return release, d.g.failf(result.MiscFailure, "build closure that '%s' asks for: %w", d.name, err)
	}
	if len(drvs) == 0 {
		return release, ending{}
	}
	var outputs []store.StorePath
	wants := make([]want, len(drvs))
	for i, p := range drvs {
		drv, err := d.store.Derivation(d.g.ctx, p)
		if err != nil {
			return release, d.g.failf(result.MiscFailure, "build closure that '%s' asks for: %w", d.name, err)
		}
		for _, o := range drv.Outputs {
			if !o.Path.IsZero() {
				outputs = append(outputs, o.Path)
			}
		}
		wants[i] = want{key: key{kind: derivationGoal, path: p}}
	}
	release = d.store.AddTempRoot(outputs...)
	goals, err := d.await(d.g, false, wants)
	if err != nil {
		return release, d.g.failed(result.MiscFailure, err)
	}
	return release, d.judgeInputs(goals)
}

// buildClosures returns the derivations in the closures, by name. What names no
// input is left to the builder, which refuses it.
func (d *drvRun) buildClosures(inputs []store.StorePath) ([]store.StorePath, error) {
	var roots []store.StorePath
	for _, g := range d.asks.BuildReferencesGraphs {
		for _, text := range g.Paths {
			if p, _, err := d.dir.Split(text); err == nil && slices.Contains(inputs, p) {
				roots = append(roots, p)
			}
		}
	}
	if len(roots) == 0 {
		return nil, nil
	}
	closure, err := d.store.Closure(d.g.ctx, roots)
	if err != nil {
		return nil, err
	}
	drvs := slices.DeleteFunc(closure, func(p store.StorePath) bool { return !p.IsDerivation() })
	slices.SortFunc(drvs, byName)
	return drvs, nil
}
