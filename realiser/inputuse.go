package realiser

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
)

// inputUse is what a derivation uses of another one, and what became of it.
type inputUse struct {
	drv   store.StorePath
	use   derivation.Use
	built derivation.Built
}

func newInputUse(drv store.StorePath, use derivation.Use) *inputUse {
	return &inputUse{drv, use, derivation.Built{Outputs: map[string]store.StorePath{}, Dynamic: map[string]derivation.Built{}}}
}

// dynamic returns what is used of those outputs that are derivations.
func (u *inputUse) dynamic(d store.Dir) (next []*inputUse, err error) {
	for _, name := range slices.Sorted(maps.Keys(u.use.Dynamic)) {
		p := u.built.Outputs[name]
		if !p.IsDerivation() {
			return nil, notDerivation(d, u.drv, name, p)
		}
		n := newInputUse(p, u.use.Dynamic[name])
		u.built.Dynamic[name] = n.built
		next = append(next, n)
	}
	return next, nil
}

// notDerivation is the error about an output whose outputs are wanted.
func notDerivation(d store.Dir, drv store.StorePath, output string, p store.StorePath) error {
	return fmt.Errorf("output '%s' of '%s' is not a derivation: it is '%s'", output, d.Join(drv), d.Join(p))
}

// realiseUses makes valid what is used of derivations, and what else is wanted.
// Release unlocks it for garbage collection.
func (d *drvRun) realiseUses(uses []*inputUse, wants []want) (release func(), res ending) {
	var needed []store.StorePath
	lacking := map[*inputUse]bool{}
	for _, u := range uses {
		paths, complete, err := d.inputPaths(u)
		switch {
		case isRefusal(err):
			return func() {}, d.g.failed(result.InputRejected, err)
		case err != nil:
			return func() {}, d.g.failed(result.MiscFailure, err)
		}
		needed = append(needed, paths...)
		lacking[u] = !complete
	}
	release = d.store.AddTempRoot(needed...) // before it is asked what is valid
	missing, err := d.missing(d.g.ctx, needed)
	if err != nil {
		return release, d.g.failed(result.MiscFailure, err)
	}
	absent := make(map[store.StorePath]bool, len(missing))
	for _, p := range missing {
		absent[p] = true
	}
	sources := len(wants)
	var made []*inputUse // in the order of wants, after the sources
	for _, u := range uses {
		for _, p := range u.built.Outputs {
			lacking[u] = lacking[u] || absent[p]
		}
		if lacking[u] {
			made = append(made, u)
			wants = append(wants, want{key: key{kind: derivationGoal, path: u.drv}, outputs: u.use.Needed()})
		}
	}
	goals, err := d.await(d.g, false, wants)
	if err != nil {
		return release, d.g.failed(result.MiscFailure, err)
	}
	if res := d.judgeInputs(goals); res.err != nil {
		return release, res
	}
	for i, u := range made {
		for _, name := range u.use.Needed() {
			u.built.Outputs[name] = goals[sources+i].result.outputs[name]
		}
	}
	return release, ending{}
}

type refusal struct{ error }

func isRefusal(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

// inputPaths fills in the paths of the used outputs that are known and returns
// them. It is complete if that is all: those of impure derivations never are.
func (d *drvRun) inputPaths(u *inputUse) (paths []store.StorePath, complete bool, err error) {
	name := d.dir.Join(u.drv)
	drv, err := d.derivation(d.g.ctx, u.drv)
	if err != nil {
		return nil, false, fmt.Errorf("input of derivation '%s': cannot read derivation '%s': %w", d.name, name, err)
	}
	impure := drv.Kind() == derivation.Impure
	if k := d.drv.Kind(); impure && k != derivation.Impure && k != derivation.FixedOutput {
		return nil, false, refusal{fmt.Errorf("pure derivation '%s' depends on impure derivation '%s'", d.name, name)}
	}
	d.unknownInputs = d.unknownInputs || impure || realised(drv)
	var known map[string]store.StorePath // by realisations
	if realised(drv) {
		if known, _, err = d.outputPaths(d.g.ctx, drv); err != nil {
			return nil, false, fmt.Errorf("input of derivation '%s': %w", d.name, err)
		}
	}
	complete = !impure
	for _, output := range u.use.Needed() {
		o, ok := drv.Outputs[output]
		if !ok {
			return nil, false, refusal{noSuchOutput(d.dir, u.drv, output)}
		}
		p := o.Path
		if p.IsZero() {
			p = known[output]
		}
		if p.IsZero() {
			complete = false
			continue
		}
		u.built.Outputs[output] = p
		paths = append(paths, p)
	}
	return paths, complete, nil
}
