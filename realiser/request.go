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
	Path    store.StorePath // if not zero, this is all
	Drv     store.StorePath
	Outputs []string // of Drv; empty: all of them
}

// String is Nix's notation: the base name, or "….drv^out,dev".
func (t Target) String() string {
	if !t.Path.IsZero() {
		return t.Path.String()
	}
	if len(t.Outputs) == 0 {
		return t.Drv.String() + "^*"
	}
	return t.Drv.String() + "^" + strings.Join(t.Outputs, ",")
}

// check says what makes a target senseless.
func (t Target) check() error {
	switch {
	case t.Path.IsZero() == t.Drv.IsZero():
		return errors.New("a target is either a path or a derivation")
	case !t.Drv.IsZero() && !t.Drv.IsDerivation():
		return fmt.Errorf("%s is not a derivation: its name does not end in .drv", t.Drv)
	case !t.Path.IsZero() && len(t.Outputs) > 0:
		return fmt.Errorf("%s is not a derivation, so it has no outputs to choose from", t.Path)
	}
	return nil
}

func (t Target) want(m Mode) want {
	if !t.Path.IsZero() {
		return want{key: key{kind: pathGoal, path: t.Path, mode: m}}
	}
	w := want{key: key{kind: derivationGoal, path: t.Drv, mode: m}}
	if len(t.Outputs) > 0 {
		w.outputs = t.Outputs
	}
	return w
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
	wants := make([]want, len(req.Targets))
	for i, t := range req.Targets {
		if err := t.check(); err != nil {
			return nil, err
		}
		if req.Mode == ModeCheck && t.Drv.IsZero() {
			return nil, fmt.Errorf("%s is not a derivation, and only a build can be checked", t.Path)
		}
		wants[i] = t.want(req.Mode)
		defer r.store.AddTempRoot(wants[i].key.path)()
	}
	if req.Mode.repairs() {
		defer r.contents.begin()()
	}
	w := &wait{urgency: urgency{priority: req.Priority, request: r.requests.Add(1), caller: who, keepGoing: req.KeepGoing,
		rounds: req.Rounds, keep: req.KeepFailed, fresh: true}}
	goals, err := r.graph.await(ctx, w, wants)
	defer func() { dropAll(w.keeps) }()
	if err != nil {
		return nil, err
	}
	outcome := &Outcome{Results: make([]BuildResult, len(goals))}
	for i, g := range goals {
		outcome.Results[i] = r.buildResult(req.Targets[i], g)
	}
	return outcome, nil
}

func (r *Realiser) buildResult(t Target, g *goal) BuildResult {
	select {
	case <-g.done:
	default:
		res := g.failed(result.MiscFailure, fmt.Errorf("%s: %w", t, errNotTried))
		return BuildResult{Target: t, Status: res.status, Err: res.err}
	}
	res := g.result
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
			bad := g.failed(result.MiscFailure, noSuchOutput(r.dir, t.Drv, name))
			return BuildResult{Target: t, Status: bad.status, Err: bad.err}
		}
	}
	return b
}

func noSuchOutput(d store.Dir, drv store.StorePath, name string) error {
	return fmt.Errorf("derivation '%s' does not have an output '%s'", d.Join(drv), name)
}
