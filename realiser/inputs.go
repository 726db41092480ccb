package realiser

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"larder/realiser/result"
	"larder/store"
)

// realiseInputs makes the inputs valid and returns their closure, which release
// unlocks for garbage collection.
func (d *drvRun) realiseInputs() (closure []store.StorePath, release func(), res ending) {
	release = func() {}
	inputs, err := d.inputs()
	if err != nil {
		if isRefusal(err) {
			return nil, release, d.g.failed(result.InputRejected, err)
		}
		return nil, release, d.g.failed(result.MiscFailure, err)
	}
	release = d.store.AddTempRoot(inputs.paths...) // before it is asked what is valid
	wants, err := d.missingInputs(inputs)
	if err != nil {
		return nil, release, d.g.failed(result.MiscFailure, err)
	}
	goals, err := d.await(d.g, false, wants)
	if err != nil {
		return nil, release, d.g.failed(result.MiscFailure, err)
	}
	if res := d.judgeInputs(goals); res.err != nil {
		return nil, release, res
	}
	if closure, err = d.store.Closure(d.g.ctx, inputs.paths); err != nil {
		return nil, release, d.g.failf(result.MiscFailure, "inputs of '%s': %w", d.name, err)
	}
	unroot, res := d.realiseBuildClosures(closure)
	unlock := release
	return closure, func() { unroot(); unlock() }, res
}

type refusal struct{ error }

func isRefusal(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

// inputPaths are what a build needs: sources first, then outputs of derivations.
type inputPaths struct {
	paths  []store.StorePath
	makers []store.StorePath // derivations, by name
	from   []int             // where the outputs of each begin in paths, and their end
}

// byName is the order in which goals are begun.
func byName(a, b store.StorePath) int {
	return cmp.Or(strings.Compare(a.Name(), b.Name()), a.Compare(b))
}

// inputs returns the paths that the build needs.
func (d *drvRun) inputs() (*inputPaths, error) {
	in := &inputPaths{paths: slices.Clone(d.drv.InputSrcs)}
	in.makers = slices.SortedFunc(maps.Keys(d.drv.InputDrvs), byName)
	for _, input := range in.makers {
		drv, err := d.store.Derivation(d.g.ctx, input)
		if err != nil {
			return nil, fmt.Errorf("input of derivation '%s': cannot read derivation '%s': %w", d.name, d.dir.Join(input), err)
		}
		if err := refuseKind(drv, d.dir.Join(input)); err != nil {
			return nil, refusal{err}
		}
		in.from = append(in.from, len(in.paths))
		for _, name := range d.drv.InputDrvs[input] {
			o, ok := drv.Outputs[name]
			if !ok {
				return nil, refusal{noSuchOutput(d.dir, input, name)}
			}
			in.paths = append(in.paths, o.Path)
		}
	}
	in.from = append(in.from, len(in.paths))
	return in, nil
}

// missingInputs returns goals for the inputs that are not valid.
func (d *drvRun) missingInputs(in *inputPaths) (wants []want, err error) {
	valid, err := d.store.Valid(d.g.ctx, in.paths)
	if err != nil {
		return nil, err
	}
	for i, p := range d.drv.InputSrcs {
		if !valid[i] {
			wants = append(wants, want{key: key{kind: substitutionGoal, path: p}})
		}
	}
	for i, input := range in.makers {
		if slices.Contains(valid[in.from[i]:in.from[i+1]], false) {
			wants = append(wants, want{key: key{kind: derivationGoal, path: input}, outputs: d.drv.InputDrvs[input]})
		}
	}
	return wants, nil
}

// judgeInputs makes the result of inputs that failed.
func (d *drvRun) judgeInputs(goals []*goal) ending {
	var errs []error
	var first *result.BuildError
	for _, g := range goals {
		res, finished := g.outcome()
		if !finished || res.err == nil {
			continue
		}
		if first == nil {
			first = res.err
		}
		if errors.Is(res.err, store.ErrNotFound) {
			// That an input was not found does not mean that what needs it was not.
			errs = append(errs, errorString(res.err.Error()))
		} else {
			errs = append(errs, res.err)
		}
	}
	if first == nil {
		return ending{}
	}
	res := d.g.failf(result.DependencyFailed, "%d dependencies of derivation '%s' failed to build: %w", len(errs), d.name,
		&dependencyErrors{errs})
	if !first.Drv.IsZero() { // what to look at is the builder that failed
		res.err.Drv, res.err.LogPath, res.err.LastLines = first.Drv, first.LogPath, first.LastLines
	}
	return res
}

// dependencyErrors is why inputs failed: it shows the first and unwraps to all.
type dependencyErrors struct{ errs []error }

func (d *dependencyErrors) Error() string   { return d.errs[0].Error() }
func (d *dependencyErrors) Unwrap() []error { return d.errs }
