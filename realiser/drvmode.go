package realiser

import (
	"fmt"
	"maps"
	"slices"

	"larder/realiser/builder"
	"larder/store"
)

// What a mode changes of the work of a derivation goal.

// repairDerivation is the work of a derivation goal that repairs the closure, too.
func (r *Realiser) repairDerivation(g *goal, wanted outputSet) ending {
	res := r.realiseDerivation(g, wanted)
	if res.err != nil {
		return res
	}
	outputs := store.SortPaths(slices.Collect(maps.Values(res.outputs)))
	defer r.store.AddTempRoot(outputs...)()
	if failed := r.repairClosure(g, outputs); failed.err != nil {
		res.keep.drop()
		return failed
	}
	return res
}

// toMake returns the outputs that the goal has to make: the absent ones, and in a
// repair the damaged ones, which it notes. A check makes none, and is refused
// where something is absent.
func (d *drvRun) toMake(absent []string) ([]string, error) {
	switch {
	case d.g.key.mode == ModeCheck && len(absent) > 0:
		return nil, fmt.Errorf("some outputs of '%s' are not valid, so checking is not possible", d.name)
	case d.g.key.mode.repairs():
		if err := d.findCorrupt(d.wanted, absent); err != nil {
			return nil, err
		}
		return slices.Sorted(slices.Values(append(absent, slices.Collect(maps.Keys(d.corrupt))...))), nil
	}
	return absent, nil
}

// findCorrupt notes which of the outputs that are valid are damaged.
func (d *drvRun) findCorrupt(names, absent []string) error {
	d.corrupt = map[string]store.StorePath{}
	for _, name := range names {
		if slices.Contains(absent, name) {
			continue
		}
		bad, err := d.damaged(d.g, []store.StorePath{d.paths[name]})
		if err != nil {
			return err
		}
		if len(bad) > 0 {
			d.corrupt[name] = d.paths[name]
		}
	}
	return nil
}

// repairInputs makes sure that a repair does not build from what is damaged itself.
func (d *drvRun) repairInputs(closure []store.StorePath) ending {
	if !d.g.key.mode.repairs() {
		return ending{}
	}
	return d.repairAll(d.g, closure, "the inputs of "+d.name)
}

// fillIn tells the job of a build what the mode and those who wait demand, and
// reports whether there is anything to build.
func (d *drvRun) fillIn(job *builder.Job) (needed bool, err error) {
	u := d.graph.urgencyOf(d.g)
	job.Rounds, job.Keep, job.For = max(d.opt.Repeat+1, u.rounds), u.keep, u.caller
	if u.keep {
		job.For = u.keepFor // with the setting keep-failed it is whoever was first
	}
	switch mode := d.g.key.mode; {
	case mode == ModeCheck:
		job.Check = map[string]*store.PathInfo{}
		for _, name := range d.wanted {
			if job.Check[name], err = d.store.PathInfo(d.g.ctx, d.paths[name]); err != nil {
				return false, err
			}
		}
		return true, nil
	case mode.repairs():
		// Somebody may have been faster here, too.
		if err := d.findCorrupt(d.wanted, slices.Collect(maps.Keys(job.Absent))); err != nil {
			return false, err
		}
		job.Corrupt = d.corrupt
		if len(job.Corrupt) > 0 {
			return true, nil
		}
	}
	return slices.ContainsFunc(d.wanted, func(name string) bool { return !job.Absent[name].IsZero() }), nil
}
