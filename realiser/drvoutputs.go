package realiser

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"larder/store"
	"larder/store/derivation"
)

// Outputs of a derivation have a path that the derivation says (input-addressed,
// fixed), a path that the realisation of an output says once it was built
// (content-addressed, deferred), or one that nobody remembers (impure).

// realised reports whether the paths of the outputs follow from realisations.
func realised(drv *derivation.Derivation) bool {
	k := drv.Kind()
	return k == derivation.FloatingCA || k == derivation.Deferred
}

// outputPaths returns the paths of drv's outputs as far as they are known, and
// the identities of those that follow from realisations.
func (r *Realiser) outputPaths(ctx context.Context, drv *derivation.Derivation) (paths map[string]store.StorePath, ids map[string]store.DrvOutput, err error) {
	paths = make(map[string]store.StorePath, len(drv.Outputs))
	if !realised(drv) {
		for name, o := range drv.Outputs {
			if !o.Path.IsZero() {
				paths[name] = o.Path
			}
		}
		return paths, nil, nil
	}
	if ids, err = r.hasher.DrvOutputs(ctx, drv); err != nil {
		return nil, nil, err
	}
	for name, id := range ids {
		known, err := r.store.Realisation(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		paths[name] = known.OutPath
	}
	return paths, ids, nil
}

// lookUp finds out which paths of outputs are known.
func (d *drvRun) lookUp() (err error) {
	if d.paths, d.ids, err = d.outputPaths(d.g.ctx, d.drv); err != nil {
		return fmt.Errorf("outputs of derivation '%s': %w", d.name, err)
	}
	return nil
}

// absent returns those of the outputs that have to be made: paths that are not
// valid, or not known.
func (d *drvRun) absent(names []string) ([]string, error) {
	known := make([]string, 0, len(names))
	paths := make([]store.StorePath, 0, len(names))
	var absent []string
	for _, name := range names {
		if p, ok := d.paths[name]; ok {
			known, paths = append(known, name), append(paths, p)
		} else {
			absent = append(absent, name)
		}
	}
	valid, err := d.store.Valid(d.g.ctx, paths)
	if err != nil {
		return nil, err
	}
	for i, name := range known {
		if !valid[i] {
			absent = append(absent, name)
		}
	}
	slices.Sort(absent)
	return absent, nil
}

// knownPaths are the paths of outputs that are known.
func (d *drvRun) knownPaths() []store.StorePath {
	return store.SortPaths(slices.Collect(maps.Values(d.paths)))
}

// scratchPath is where an output is built whose path is not known before: a path
// that no object can have (Nix's "fallback path").
func (d *drvRun) scratchPath(output string) (store.StorePath, error) {
	zero, err := store.NewHash(store.SHA256, make([]byte, store.SHA256.Size())) // Nix has none to put there
	if err != nil {
		return store.StorePath{}, err
	}
	return d.dir.MakePath("rewrite:"+d.path.String()+":name:"+output, zero, store.OutputPathName(d.drv.Name, output))
}

// places returns where the builder makes each output, and what to lock meanwhile:
// the path; where it is not known, what the realisation is recorded under, so that
// two derivations that mean the same are not built at once. Nobody shares an
// impure output, so it needs no lock.
func (d *drvRun) places() (outputs map[string]store.StorePath, locks []store.StorePath, err error) {
	outputs = make(map[string]store.StorePath, len(d.drv.Outputs))
	for name := range d.drv.Outputs {
		p, known := d.paths[name]
		if known {
			outputs[name], locks = p, append(locks, p)
			continue
		}
		if outputs[name], err = d.scratchPath(name); err != nil {
			return nil, nil, err
		}
		if id, ok := d.ids[name]; ok {
			lock, err := d.dir.MakePath("realisation:"+name, id.DrvHash, store.OutputPathName(d.drv.Name, name))
			if err != nil {
				return nil, nil, err
			}
			locks = append(locks, lock)
		}
	}
	return outputs, locks, nil
}

// lookAgain is for who has the locks: where each output is made, and those that
// are not valid.
func (d *drvRun) lookAgain() (outputs, absent map[string]store.StorePath, err error) {
	if err := d.lookUp(); err != nil {
		return nil, nil, err
	}
	d.hold(d.knownPaths()...)
	if outputs, _, err = d.places(); err != nil {
		return nil, nil, err
	}
	names, err := d.absent(d.drv.OutputNames())
	if err != nil {
		return nil, nil, err
	}
	absent = make(map[string]store.StorePath, len(names))
	for _, name := range names {
		absent[name] = outputs[name]
	}
	return outputs, absent, nil
}
