package realiser

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"larder/realiser/result"
	"larder/store"
)

// Target is something to realise: a path by whatever means, or outputs of a
// derivation.
type Target struct {
	Path store.StorePath // if not zero, this is all
	Drv  store.StorePath
	// Through leads to a derivation that is built first (a dynamic derivation): the
	// output Through[0] of Drv, of that the output Through[1], …; nil: it is Drv itself.
	Through []string
	Outputs []string // of the derivation; empty: all of them
}

// String is Nix's notation: the base name, or "….drv^out,dev", or "….drv^out^dev"
// for the output dev of a derivation that is built first.
func (t Target) String() string {
	if !t.Path.IsZero() {
		return t.Path.String()
	}
	last := "*"
	if len(t.Outputs) > 0 {
		last = strings.Join(t.Outputs, ",")
	}
	return strings.Join(append(append([]string{t.Drv.String()}, t.Through...), last), "^")
}

// ParseTarget is the inverse of String.
func ParseTarget(s string) (Target, error) {
	steps := strings.Split(s, "^")
	p, err := store.ParseStorePath(steps[0])
	if err != nil {
		return Target{}, err
	}
	if len(steps) == 1 {
		return Target{Path: p}, nil
	}
	t := Target{Drv: p}
	if t.Through, t.Outputs, err = ParseOutputs(steps[1:]); err != nil {
		return Target{}, err
	}
	return t, t.check()
}

// ParseOutputs parses what comes after the derivation in the notation of targets,
// split at "^".
func ParseOutputs(steps []string) (through, outputs []string, err error) {
	through, last := steps[:len(steps)-1], steps[len(steps)-1]
	names := through
	if last != "*" {
		outputs = strings.Split(last, ",")
		names = slices.Concat(through, outputs)
	}
	for _, name := range names {
		if err := store.CheckName(name); err != nil {
			return nil, nil, fmt.Errorf("name of an output: %w", err)
		}
	}
	if len(through) == 0 {
		through = nil
	}
	return through, outputs, nil
}

// check says what makes a target senseless.
func (t Target) check() error {
	switch {
	case t.Path.IsZero() == t.Drv.IsZero():
		return errors.New("a target is either a path or a derivation")
	case !t.Drv.IsZero() && !t.Drv.IsDerivation():
		return fmt.Errorf("%s is not a derivation: its name does not end in .drv", t.Drv)
	case !t.Path.IsZero() && len(t.Outputs)+len(t.Through) > 0:
		return fmt.Errorf("%s is not a derivation, so it has no outputs to choose from", t.Path)
	}
	return nil
}

// Request is what [Realiser.Build] is asked for.
type Request struct {
	Targets   []Target
	Mode      Mode
	KeepGoing bool     // go on with what remains when something fails (keep-going)
	Priority  Priority // among requests that compete for slots
	// Rounds is how often each builder runs, to compare what it makes; what the setting repeat asks for if that is more.
	Rounds int
	// KeepFailed leaves the build directories of failed builds, also where the setting keep-failed does not.
	KeepFailed bool
}

// errNotTried is the error of targets that were given up.
var errNotTried = errors.New("given up, because another target failed")

// Build realises the targets. It asks the substituters and starts builds anew
// even where a failure is remembered. The error says only that the request as a
// whole was senseless, or that ctx ended; how each target went is in the
// outcome. Without KeepGoing the first failure ends the request, and what only
// this request wanted is abandoned. Nothing keeps the outputs from garbage
// collection when Build has returned: who needs them holds temp roots on them from
// before.
func (r *Realiser) Build(ctx context.Context, who store.Caller, req Request) (*Outcome, error) {
	steps := make([]*step, len(req.Targets))
	for i, t := range req.Targets {
		if err := t.check(); err != nil {
			return nil, err
		}
		if req.Mode == ModeCheck && t.Drv.IsZero() {
			return nil, fmt.Errorf("'%s' is not a derivation, and only a build can be checked", r.dir.Join(t.Path))
		}
		steps[i] = newStep(t)
		defer r.store.AddTempRoot(steps[i].path)()
	}
	if req.Mode.repairs() {
		defer r.contents.begin()()
	}
	u := urgency{priority: req.Priority, request: r.requests.Add(1), caller: who, keepGoing: req.KeepGoing,
		rounds: req.Rounds, keep: req.KeepFailed, keepFor: who, fresh: true}
	release, err := r.walk(ctx, steps, req.Mode, u)
	defer release()
	if err != nil {
		return nil, err
	}
	outcome := &Outcome{Results: make([]BuildResult, len(steps))}
	for i, s := range steps {
		outcome.Results[i] = r.buildResult(s)
	}
	return outcome, nil
}

func (r *Realiser) buildResult(s *step) BuildResult {
	t, g := s.target, s.goal
	if s.err != nil {
		res := g.failed(result.MiscFailure, s.err)
		return BuildResult{Target: t, Status: res.status, Err: res.err}
	}
	res, finished := g.outcome()
	if !finished || s.pending || res.err != nil && errors.Is(res.err, errAbandoned) {
		res := g.failed(result.MiscFailure, fmt.Errorf("%s: %w", t, errNotTried))
		return BuildResult{Target: t, Status: res.status, Err: res.err}
	}
	b := BuildResult{Target: t, Status: res.status, Start: res.start, Stop: res.stop, CPUUser: res.cpuUser, CPUSystem: res.cpuSystem}
	if res.err != nil {
		b.Err = res.err
		return b
	}
	if t.Drv.IsZero() {
		return b
	}
	b.Outputs = map[string]store.StorePath{}
	for name, p := range res.outputs {
		if len(t.Outputs) == 0 || slices.Contains(t.Outputs, name) {
			b.Outputs[name] = p
		}
	}
	// The goal may have been joined by others, so it does not judge what each of them wanted.
	for _, name := range t.Outputs {
		if _, ok := res.outputs[name]; !ok {
			bad := g.failed(result.MiscFailure, noSuchOutput(r.dir, s.path, name))
			return BuildResult{Target: t, Status: bad.status, Err: bad.err}
		}
	}
	return b
}

func noSuchOutput(d store.Dir, drv store.StorePath, name string) error {
	return fmt.Errorf("derivation '%s' does not have an output '%s'", d.Join(drv), name)
}
