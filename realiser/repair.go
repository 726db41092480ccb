package realiser

import (
	"fmt"
	"slices"

	"larder/realiser/result"
	"larder/store"
)

// repairPath is the work of a path goal that repairs. What is not valid is realised;
// what is damaged is substituted, else built again.
func (r *Realiser) repairPath(g *goal) ending {
	p := g.key.path
	valid, err := r.valid(g.ctx, p)
	if err != nil {
		return g.failed(result.MiscFailure, err)
	}
	var res ending
	if !valid {
		res = r.join(g, want{key: key{kind: pathGoal, path: p}})
	} else {
		res = r.mend(g)
	}
	if res.err == nil && g.key.mode == ModeRepair {
		if failed := r.repairClosure(g, []store.StorePath{p}); failed.err != nil {
			return failed
		}
	}
	return res
}

// mend makes a valid path good.
func (r *Realiser) mend(g *goal) ending {
	p := g.key.path
	bad, err := r.damaged(g, []store.StorePath{p})
	if err != nil {
		return g.failed(result.MiscFailure, err)
	}
	if len(bad) == 0 {
		return ending{status: result.AlreadyValid}
	}
	substituted := r.join(g, want{key: key{kind: substitutionGoal, path: p, mode: ModeRepairPath}})
	if substituted.err == nil || g.ctx.Err() != nil {
		return substituted
	}
	makers, err := r.repairers(g, p)
	if err != nil {
		return g.failed(result.MiscFailure, err)
	}
	if len(makers) == 0 {
		return g.failf(substituted.status, "cannot repair path '%s': no derivation that makes it is here, and %s",
			r.dir.Join(p), errorString(substituted.err.Error()))
	}
	var first ending
	for i, drv := range makers {
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

// repairers are the valid derivations that make a path, the one that made it first.
func (r *Realiser) repairers(g *goal, p store.StorePath) ([]store.StorePath, error) {
	info, err := r.store.PathInfo(g.ctx, p)
	if err != nil {
		return nil, err
	}
	derivers, err := r.store.ValidDerivers(g.ctx, p)
	if err != nil {
		return nil, err
	}
	derivers = slices.DeleteFunc(store.SortPaths(derivers), func(p store.StorePath) bool { return p == info.Deriver })
	if info.Deriver.IsZero() {
		return derivers, nil
	}
	if valid, err := r.valid(g.ctx, info.Deriver); err != nil || !valid {
		return derivers, err
	}
	return slices.Insert(derivers, 0, info.Deriver), nil
}

// repairClosure repairs all that valid paths refer to.
func (r *Realiser) repairClosure(g *goal, paths []store.StorePath) ending {
	closure, err := r.store.Closure(g.ctx, paths)
	if err != nil {
		return g.failed(result.MiscFailure, err)
	}
	return r.repairAll(g, slices.DeleteFunc(closure, func(p store.StorePath) bool { return slices.Contains(paths, p) }),
		"the closure of "+r.dir.Join(g.key.path))
}

// repairAll repairs those of valid paths that are damaged.
func (r *Realiser) repairAll(g *goal, paths []store.StorePath, what string) ending {
	defer r.store.AddTempRoot(paths...)()
	bad, err := r.damaged(g, paths)
	if err != nil {
		return g.failed(result.MiscFailure, err)
	}
	wants := make([]want, len(bad))
	for i, p := range bad {
		wants[i] = want{key: key{kind: pathGoal, path: p, mode: ModeRepairPath}}
	}
	goals, err := r.await(g, true, wants)
	if err != nil {
		return g.failed(result.MiscFailure, err)
	}
	var failures []error
	for _, other := range goals {
		if e := other.result.err; e != nil {
			failures = append(failures, e)
		}
	}
	if len(failures) > 0 {
		return g.failf(result.PermanentFailure, "%d paths in %s could not be repaired: %w", len(failures), what, oneLine(failures))
	}
	return ending{status: result.AlreadyValid}
}

// worthRepairing says why what a substituter has must not take the place of a valid
// path; nil if it may. What was built here has no better witness: the same, or
// nothing. What came from a substituter may come from another, which is trusted as
// much.
func (r *Realiser) worthRepairing(g *goal, s Substituter, info *store.PathInfo) error {
	if !g.key.mode.repairs() {
		return nil
	}
	valid, err := r.valid(g.ctx, info.Path)
	if err != nil || !valid {
		return err
	}
	known, err := r.store.PathInfo(g.ctx, info.Path)
	if err != nil || known.NarHash == info.NarHash {
		return err
	}
	if known.Ultimate || !known.CA.IsZero() {
		return fmt.Errorf("%s: it has other contents of '%s' than those that are registered: %w", s, r.dir.Join(info.Path), store.ErrNotFound)
	}
	return nil
}

// admit makes an object valid, or puts it in the place of one that is.
func (r *Realiser) admit(g *goal, add store.Addition) error {
	if g.key.mode.repairs() {
		if valid, err := r.valid(g.ctx, add.Info.Path); err != nil {
			return err
		} else if valid {
			return r.store.Replace(g.ctx, add)
		}
	}
	return r.store.Register(g.ctx, add)
}

// alreadyThere tells whether a goal for a path has nothing to do any more.
func (r *Realiser) alreadyThere(g *goal, p store.StorePath) (bool, error) {
	valid, err := r.valid(g.ctx, p)
	if err != nil || !valid || !g.key.mode.repairs() {
		return valid, err
	}
	damage, err := r.contents.damage(g.ctx, p)
	return damage == nil, err
}
