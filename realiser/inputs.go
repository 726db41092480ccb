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
	"larder/store/derivation"
)

// realiseInputs makes the inputs valid and returns their closure, which release
// unlocks for garbage collection. What became of the input derivations is in
// d.built afterwards.
func (d *drvRun) realiseInputs() (closure []store.StorePath, release func(), res ending) {
	var roots []func()
	release = func() {
		for _, unroot := range roots {
			unroot()
		}
	}
	roots = append(roots, d.store.AddTempRoot(d.drv.InputSrcs...)) // before it is asked what is valid
	wants, err := d.missingSources()
	if err != nil {
		return nil, release, d.g.failed(result.MiscFailure, err)
	}
	d.built = make(map[store.StorePath]derivation.Built, len(d.drv.InputDrvs))
	var uses []*inputUse
	for _, p := range slices.SortedFunc(maps.Keys(d.drv.InputDrvs), byName) {
		u := newInputUse(p, d.drv.Use(p))
		d.built[p] = u.built
		uses = append(uses, u)
	}
	paths := slices.Clone(d.drv.InputSrcs)
	for len(uses)+len(wants) > 0 {
		unroot, res := d.realiseUses(uses, wants)
		roots = append(roots, unroot)
		if res.err != nil {
			return nil, release, res
		}
		var next []*inputUse
		for _, u := range uses {
			for _, name := range u.use.Outputs {
				paths = append(paths, u.built.Outputs[name])
			}
			more, err := u.dynamic(d.dir)
			if err != nil {
				return nil, release, d.g.failf(result.InputRejected, "input of derivation '%s': %w", d.name, err)
			}
			next = append(next, more...)
		}
		uses, wants = next, nil
	}
	if closure, err = d.store.Closure(d.g.ctx, paths); err != nil {
		return nil, release, d.g.failf(result.MiscFailure, "inputs of '%s': %w", d.name, err)
	}
	unroot, res := d.realiseBuildClosures(closure)
	roots = append(roots, unroot)
	return closure, release, res
}

// byName is the order in which goals are begun.
func byName(a, b store.StorePath) int {
	return cmp.Or(strings.Compare(a.Name(), b.Name()), a.Compare(b))
}

// missingSources returns goals for the sources that are not valid.
func (d *drvRun) missingSources() (wants []want, err error) {
	missing, err := d.missing(d.g.ctx, d.drv.InputSrcs)
	if err == nil {
		missing, err = d.copySources(missing)
	}
	if err != nil {
		return nil, err
	}
	for _, p := range missing {
		if d.opt.NoSubstitutes {
			return nil, fmt.Errorf("dependency '%s' of '%s' does not exist, and substitution is disabled", d.dir.Join(p), d.name)
		}
		wants = append(wants, want{key: key{kind: substitutionGoal, path: p}})
	}
	return wants, nil
}

// judgeInputs makes the result of inputs that failed.
func (d *drvRun) judgeInputs(goals []*goal) ending {
	var causes []error
	failed := 0
	var first *result.BuildError
	for _, g := range goals {
		res, finished := g.outcome()
		if !finished || res.err == nil {
			continue
		}
		failed++
		if first == nil {
			first = res.err
		}
		causes = addCauses(causes, res.err)
	}
	if first == nil {
		return ending{}
	}
	res := d.g.failf(result.DependencyFailed, "%d dependencies of derivation '%s' failed to build: %w", failed, d.name,
		&dependencyErrors{first, causes})
	if !first.Drv.IsZero() { // what to look at is the builder that failed
		res.err.Drv, res.err.LogPath, res.err.LastLines = first.Drv, first.LogPath, first.LastLines
	}
	return res
}

// dependencyErrors is why inputs failed: it shows the first, and unwraps to what
// failed by itself, at whatever distance. Were that the inputs' own errors, a search
// in them would take every way through the graph, of which there are too many.
type dependencyErrors struct {
	first  error
	causes []error
}

func (d *dependencyErrors) Error() string   { return d.first.Error() }
func (d *dependencyErrors) Unwrap() []error { return d.causes }

// addCauses adds the causes of an input's failure that are not there yet.
func addCauses(causes []error, failure *result.BuildError) []error {
	own := []error{failure}
	var below *dependencyErrors
	if errors.As(failure, &below) {
		own = below.causes
	} else if errors.Is(failure, store.ErrNotFound) {
		// That an input was not found does not mean that what needs it was not.
		own = []error{errorString(failure.Error())}
	}
	for _, e := range own {
		if !slices.Contains(causes, e) {
			causes = append(causes, e)
		}
	}
	return causes
}
