package realiser

import (
	"context"
	"errors"

	"larder/store"
)

// State is what a path is.
type State string

const (
	StateValid      State = "valid"
	StateRealising  State = "realising"  // Goals
	StateFailed     State = "failed"     // Failure, or a substituter that could not be asked; perhaps realisable all the same
	StateRealisable State = "realisable" // Sources
	StateUnknown    State = "unknown"    // nobody has it and no known derivation makes it
)

// Explanation says why a path is here, or is not.
type Explanation struct {
	Path     store.StorePath   `json:"path"`
	State    State             `json:"state"`
	Goals    []GoalView        `json:"goals,omitempty"`    // those about the path, oldest first, and all that they wait for
	Failure  *Failure          `json:"failure,omitempty"`  // the last one, however old
	Derivers []store.StorePath `json:"derivers,omitempty"` // derivations that make it
	Sources  []Source          `json:"sources,omitempty"`  // what the substituters say
}

// Source is what one substituter says about a path.
type Source struct {
	Substituter string `json:"substituter"`
	Has         bool   `json:"has"`
	NarSize     uint64 `json:"narSize,omitempty"`
	Error       string `json:"error,omitempty"` // it could not be asked, or its answer is not acceptable
}

// Why explains the state of p. Substituters are asked only if p is neither here
// nor on its way; one that fails is told in Sources. The error says that the store
// could not be asked, or that ctx ended.
func (r *Realiser) Why(ctx context.Context, p store.StorePath) (*Explanation, error) {
	e := &Explanation{Path: p}
	var err error
	if e.Derivers, err = r.derivers(ctx, p); err != nil {
		return nil, err
	}
	valid, err := r.valid(ctx, p)
	if err != nil {
		return nil, err
	}
	if valid {
		e.State = StateValid
		return e, nil
	}
	if e.Goals = r.graph.related(p, e.Derivers); len(e.Goals) > 0 {
		e.State = StateRealising
		return e, nil
	}
	e.Failure = r.lastFailure(p, e.Derivers)
	if e.Sources, err = r.askSources(ctx, p); err != nil {
		return nil, err
	}
	has, down := len(e.Derivers) > 0, false
	for _, s := range e.Sources {
		has = has || s.Has
		down = down || s.Error != ""
	}
	switch {
	case e.Failure != nil:
		e.State = StateFailed
	case has:
		e.State = StateRealisable
	case down:
		e.State = StateFailed // an access would be told so
	default:
		e.State = StateUnknown
	}
	return e, nil
}

// related describes the goals that are about a path or its derivers, and
// everything that they wait for.
func (gr *graph) related(p store.StorePath, derivers []store.StorePath) []GoalView {
	gr.mu.Lock()
	defer gr.mu.Unlock()
	gr.stamp++
	var mark func(g *goal)
	mark = func(g *goal) {
		if g.visited == gr.stamp {
			return
		}
		g.visited = gr.stamp
		if g.wait != nil {
			for child := range g.wait.pending {
				mark(child)
			}
		}
	}
	keys := []key{{kind: pathGoal, path: p}, {kind: substitutionGoal, path: p}}
	for _, drv := range append(derivers, p) {
		keys = append(keys, key{kind: derivationGoal, path: drv})
	}
	for _, k := range keys {
		if g := gr.goals[k]; g != nil {
			mark(g)
		}
	}
	return gr.viewsLocked(func(g *goal) bool { return g.visited == gr.stamp })
}

// lastFailure is the latest failure about a path: its derivation's says more
// than its own.
func (r *Realiser) lastFailure(p store.StorePath, derivers []store.StorePath) *Failure {
	var last *Failure
	keys := []key{{kind: pathGoal, path: p}, {kind: substitutionGoal, path: p}, {kind: derivationGoal, path: p}}
	for _, drv := range derivers {
		keys = append(keys, key{kind: derivationGoal, path: drv})
	}
	for _, k := range keys {
		if f := r.failures.explain(k); f != nil && (last == nil || !f.Time.Before(last.Time)) {
			last = f
		}
	}
	return last
}

func (r *Realiser) askSources(ctx context.Context, p store.StorePath) ([]Source, error) {
	substituters, err := r.sources.ordered(ctx)
	if err != nil {
		return nil, err
	}
	var all []Source
	for _, s := range substituters {
		info, err := r.askNarInfo(ctx, s, p)
		source := Source{Substituter: s.String()}
		switch {
		case err == nil:
			source.Has, source.NarSize = true, info.NarSize
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !errors.Is(err, store.ErrNotFound):
			source.Error = err.Error()
		}
		all = append(all, source)
	}
	return all, nil
}
