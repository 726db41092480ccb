package realiser

import (
	"fmt"

	"larder/realiser/result"
	"larder/store"
)

// realisePath is the work of a path goal. If a derivation that makes the path
// is registered, its goal decides between substitution and build as for any
// build; else only substituters can help.
func (r *Realiser) realisePath(g *goal) ending {
	p := g.key.path
	if valid, err := r.valid(g.ctx, p); err != nil {
		return g.failed(result.MiscFailure, err)
	} else if valid {
		return ending{status: result.AlreadyValid}
	}
	derivers, err := r.derivers(g.ctx, p)
	if err != nil {
		return g.failed(result.MiscFailure, err)
	}
	if len(derivers) == 0 {
		return r.join(g, want{key: key{kind: substitutionGoal, path: p}})
	}
	// Several derivations can promise the same fixed output; one that works is enough.
	var first ending
	for i, drv := range derivers {
		res := r.realiseOutput(g, drv, p)
		if res.err == nil || g.ctx.Err() != nil {
			return res
		}
		if i == 0 {
			first = res
		}
	}
	return first
}

// realiseOutput waits for the derivation goal of drv to make p.
func (r *Realiser) realiseOutput(g *goal, drvPath, p store.StorePath) ending {
	drv, err := r.derivation(g.ctx, drvPath)
	if err != nil {
		return g.failf(result.MiscFailure, "cannot read derivation '%s': %w", r.dir.Join(drvPath), err)
	}
	paths, _, err := r.outputPaths(g.ctx, drv)
	if err != nil {
		return g.failf(result.MiscFailure, "outputs of derivation '%s': %w", r.dir.Join(drvPath), err)
	}
	mode := ModeRealise
	if g.key.mode.repairs() {
		mode = ModeRepairPath
	}
	for _, name := range drv.OutputNames() {
		if paths[name] == p {
			return r.join(g, want{key: key{kind: derivationGoal, path: drvPath, mode: mode}, outputs: []string{name}})
		}
	}
	return g.failed(result.MiscFailure, fmt.Errorf("derivation '%s' is registered as a deriver of '%s', but has no such output",
		r.dir.Join(drvPath), r.dir.Join(p)))
}

// join waits for another goal and takes over its result.
func (r *Realiser) join(g *goal, w want) ending {
	goals, err := r.await(g, false, []want{w})
	if err != nil {
		return g.failed(result.MiscFailure, err)
	}
	res := goals[0].result
	res.outputs, res.keep = nil, nil // those are the other goal's; who asked for the path keeps it
	if res.err != nil {
		e := *res.err // it is about another path
		e.Path = g.key.path
		res.err = &e
	}
	return res
}
