package realiser

import (
	"context"
	"errors"
	"fmt"

	"larder/realiser/result"
	"larder/store"
)

// Realisations is what a Substituter may be besides: a source of what outputs
// turned out to be whose paths derivations do not say. *cache.Cache is one. What it
// returns is accepted, as with narinfos; store.ErrNotFound is its answer that it
// knows nothing.
type Realisations interface {
	Realisation(ctx context.Context, id store.DrvOutput) (*store.Realisation, error)
	// BuildTrace is the newer form, for derivations without input derivations.
	BuildTrace(ctx context.Context, drv store.StorePath, output string) (*store.BuildTrace, error)
}

// maxRealisations bounds how many realisations of one substituter are asked for to
// find out whether a single one can be used.
const maxRealisations = 10_000

// errIncompatible says that a substituter's outputs were built with other inputs
// than those that are here.
var errIncompatible = errors.New("incompatible realisation")

// offer is what a substituter says about outputs of a derivation.
type offer struct {
	source       Substituter
	paths        map[string]store.StorePath
	realisations []*store.Realisation // dependencies first
}

// substituteOutputs substitutes the outputs that are missing. It is not done if
// the derivation has to be built.
func (d *drvRun) substituteOutputs(missing []string) (done bool, res ending) {
	var known []store.StorePath
	var unknown []string
	for _, name := range missing {
		if p, ok := d.paths[name]; ok {
			known = append(known, p)
		} else {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return d.trySubstitutes(known)
	}
	if d.ids == nil {
		return false, ending{} // impure: nobody can have it
	}
	sources, err := d.sources.ordered(d.g.ctx)
	if err != nil {
		return true, d.g.failed(result.MiscFailure, err)
	}
	var failed *ending
	for _, s := range sources {
		done, res := d.substituteFromOffer(s, unknown, known)
		switch {
		case d.g.ctx.Err() != nil:
			return true, d.g.failed(result.MiscFailure, context.Cause(d.g.ctx))
		case done && res.err == nil:
			return true, res
		case done && failed == nil:
			failed = &res // the next one may do better
		}
	}
	if failed != nil && !d.opt.Fallback {
		return true, *failed
	}
	if failed != nil {
		d.logFailures(d.g, []error{failed.err})
	}
	return false, ending{}
}

// substituteFromOffer takes all unknown outputs from what one substituter says:
// what different ones have may not fit together.
func (d *drvRun) substituteFromOffer(s Substituter, unknown []string, known []store.StorePath) (done bool, res ending) {
	o, err := d.offer(s, unknown)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, ending{}
	case errors.Is(err, errIncompatible):
		d.opt.Logger.Warn("a substituter is ignored", "drv", d.name, "err", err)
		return false, ending{}
	case err != nil:
		return true, d.g.failf(result.TransientFailure,
			"some substitutes for the outputs of derivation '%s' failed (the setting 'fallback' would build it then): %w", d.name, err)
	}
	paths := known
	for _, name := range unknown {
		paths = append(paths[:len(paths):len(paths)], o.paths[name])
	}
	d.hold(paths...)
	if done, res = d.trySubstitutes(store.SortPaths(paths)); !done || res.err != nil {
		return done, res
	}
	if err := d.adopt(o); err != nil {
		return true, d.g.failed(result.MiscFailure, err)
	}
	return true, res
}

// adopt records a substituter's realisations, now that the paths are here.
func (d *drvRun) adopt(o *offer) error {
	for _, r := range o.realisations {
		// Not all that it depends on has to be in the closure of what was fetched.
		if valid, err := d.valid(d.g.ctx, r.OutPath); err != nil {
			return err
		} else if !valid {
			continue
		}
		if err := d.store.RegisterRealisation(d.g.ctx, r); err != nil {
			return err
		}
	}
	for name, p := range o.paths {
		d.paths[name] = p
	}
	return nil
}

// offer asks a substituter what the outputs are, and whether that fits to what is
// here. An error that matches store.ErrNotFound says that it does not know all of them.
func (d *drvRun) offer(s Substituter, outputs []string) (*offer, error) {
	knows, ok := s.(Realisations)
	if !ok {
		return nil, store.ErrNotFound
	}
	o := &offer{source: s, paths: map[string]store.StorePath{}}
	seen := map[store.DrvOutput]bool{}
	for _, name := range outputs {
		r, err := d.askRealisation(s, knows, d.ids[name], name)
		if err != nil {
			return nil, err
		}
		if want := store.OutputPathName(d.drv.Name, name); r.OutPath.Name() != want {
			return nil, fmt.Errorf("%s: %w: output '%s' of '%s' is called '%s' there", s, store.ErrCorrupt, name, d.name, r.OutPath)
		}
		o.paths[name] = r.OutPath
		if err := d.addDependencies(o, knows, r, seen); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// askRealisation asks for one realisation, when it is the goal's turn.
func (d *drvRun) askRealisation(s Substituter, knows Realisations, id store.DrvOutput, output string) (*store.Realisation, error) {
	if err := d.acquire(d.g, d.queries, "query"); err != nil {
		return nil, err
	}
	defer d.queries.release()
	d.enter(d.g, PhaseQuerying, s.String())
	return d.queryRealisation(d.g.ctx, knows, id, output)
}

// queryRealisation asks in the newer form only about outputs of the derivation itself.
func (d *drvRun) queryRealisation(ctx context.Context, knows Realisations, id store.DrvOutput, output string) (*store.Realisation, error) {
	r, err := knows.Realisation(ctx, id)
	if !errors.Is(err, store.ErrNotFound) || output == "" || len(d.drv.InputDrvs) > 0 {
		return r, err
	}
	t, err := knows.BuildTrace(ctx, d.path, output)
	if err != nil {
		return nil, err
	}
	return &store.Realisation{ID: id, OutPath: t.OutPath}, nil // its signatures sign another text
}

// addDependencies adds a realisation after those that it was built with. Where
// another one is here already, what the substituter has can't be used: a closure
// would have the same output twice.
func (d *drvRun) addDependencies(o *offer, knows Realisations, r *store.Realisation, seen map[store.DrvOutput]bool) error {
	if seen[r.ID] {
		return nil
	}
	seen[r.ID] = true
	if len(seen) > maxRealisations {
		return fmt.Errorf("%s: %w: realisation %s depends on more than %d others", o.source, store.ErrCorrupt, r.ID, maxRealisations)
	}
	for id, p := range r.Dependencies {
		local, err := d.store.Realisation(d.g.ctx, id)
		if err == nil {
			if local.OutPath != p {
				return fmt.Errorf("%s: %w: it has '%s' for %s, here it is '%s'", o.source, errIncompatible, d.dir.Join(p), id, d.dir.Join(local.OutPath))
			}
			continue
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if seen[id] {
			continue
		}
		theirs, err := d.askRealisation(o.source, knows, id, "")
		if err != nil {
			return err
		}
		if theirs.OutPath != p {
			return fmt.Errorf("%s: %w: it has both '%s' and '%s' for %s", o.source, errIncompatible, d.dir.Join(p), d.dir.Join(theirs.OutPath), id)
		}
		if err := d.addDependencies(o, knows, theirs, seen); err != nil {
			return err
		}
	}
	o.realisations = append(o.realisations, r)
	return nil
}
