package realiser

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"larder/store"
	"larder/store/derivation"
)

// recordBuilt records what outputs turned out to be that were just built.
func (d *drvRun) recordBuilt(outputs map[string]store.StorePath) error {
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		id, ok := d.ids[name]
		if !ok {
			continue
		}
		if err := d.record(&store.Realisation{ID: id, OutPath: outputs[name]}); err != nil {
			return err
		}
	}
	return nil
}

// recordResolved records what the resolved derivation made under the identity of
// the one that was asked for. Those of the inputs' realisations that an output
// refers to are named with it: another store that has others of them can't use it.
func (d *drvRun) recordResolved(outputs map[string]store.StorePath) error {
	ids := d.ids
	if d.drv.Kind() == derivation.FixedOutput {
		var err error
		if ids, err = d.hasher.DrvOutputs(d.g.ctx, d.drv); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		id, ok := ids[name]
		if !ok {
			continue
		}
		r := &store.Realisation{ID: id, OutPath: outputs[name]}
		if d.drv.Kind() != derivation.FixedOutput {
			var err error
			if r.Dependencies, err = d.dependencies(outputs[name]); err != nil {
				return err
			}
		}
		if err := d.record(r); err != nil {
			return err
		}
	}
	return nil
}

// record signs a realisation and registers it.
func (d *drvRun) record(r *store.Realisation) error {
	for _, k := range d.opt.SecretKeys {
		r.Signatures = append(r.Signatures, k.Sign(r.Fingerprint()))
	}
	if err := d.store.RegisterRealisation(d.g.ctx, r); err != nil {
		return fmt.Errorf("recording the outputs of '%s': %w", d.name, err)
	}
	return nil
}

// dependencies are the realisations of the inputs, and all that those depend on,
// to which an output refers directly.
func (d *drvRun) dependencies(output store.StorePath) (map[store.DrvOutput]store.StorePath, error) {
	info, err := d.store.PathInfo(d.g.ctx, output)
	if err != nil {
		return nil, err
	}
	if len(info.References) == 0 {
		return nil, nil
	}
	refs := make(map[store.StorePath]bool, len(info.References))
	for _, ref := range info.References {
		refs[ref] = true
	}
	found := map[store.DrvOutput]store.StorePath{}
	seen := map[store.DrvOutput]bool{}
	var todo []store.Realisation
	for p := range d.drv.InputDrvs {
		if err := d.usedRealisations(p, d.drv.Use(p), d.built[p], &todo); err != nil {
			return nil, err
		}
	}
	for len(todo) > 0 {
		r := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[r.ID] {
			continue
		}
		seen[r.ID] = true
		if refs[r.OutPath] {
			found[r.ID] = r.OutPath
		}
		known, err := d.store.Realisation(d.g.ctx, r.ID)
		if errors.Is(err, store.ErrNotFound) {
			continue // its path is known without
		}
		if err != nil {
			return nil, err
		}
		for id, p := range known.Dependencies {
			todo = append(todo, store.Realisation{ID: id, OutPath: p})
		}
	}
	return found, nil
}

// usedRealisations adds what the used outputs of a derivation turned out to be.
func (d *drvRun) usedRealisations(p store.StorePath, use derivation.Use, built derivation.Built, to *[]store.Realisation) error {
	input, err := d.derivation(d.g.ctx, p)
	if err != nil {
		return err
	}
	ids, err := d.hasher.DrvOutputs(d.g.ctx, input)
	if err != nil {
		return err
	}
	for _, name := range use.Outputs {
		*to = append(*to, store.Realisation{ID: ids[name], OutPath: built.Outputs[name]})
	}
	for name, next := range use.Dynamic {
		if err := d.usedRealisations(built.Outputs[name], next, built.Dynamic[name], to); err != nil {
			return err
		}
	}
	return nil
}
