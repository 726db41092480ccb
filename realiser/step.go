package realiser

import (
	"context"

	"larder/store"
)

// step is how far a request has come with one of its targets: a derivation that
// is built first has no goal before it is there.
type step struct {
	target  Target
	path    store.StorePath // the path, or the derivation whose turn it is
	through []string        // outputs that still lead to the derivation
	goal    *goal           // the last one
	pending bool            // the goal of path has not begun
	err     error           // why it went no further although goal succeeded
}

func newStep(t Target) *step {
	s := &step{target: t, path: t.Path, through: t.Through}
	if t.Path.IsZero() {
		s.path = t.Drv
	}
	return s
}

func (s *step) want(m Mode) want {
	if !s.target.Path.IsZero() {
		return want{key: key{kind: pathGoal, path: s.path, mode: m}}
	}
	w := want{key: key{kind: derivationGoal, path: s.path, mode: m}}
	switch {
	case len(s.through) > 0:
		w.key.mode, w.outputs = ModeRealise, s.through[:1] // only the last one is what the request is about
	case len(s.target.Outputs) > 0:
		w.outputs = s.target.Outputs
	}
	return w
}

// advance goes on to the derivation that the goal has made, if there is one to
// come.
func (s *step) advance(d store.Dir) (more bool) {
	if len(s.through) == 0 {
		return false
	}
	name := s.through[0]
	p, ok := s.goal.result.outputs[name]
	switch {
	case !ok:
		s.err = noSuchOutput(d, s.path, name)
		return false
	case !p.IsDerivation():
		s.err = notDerivation(d, s.path, name, p)
		return false
	}
	s.path, s.through, s.pending = p, s.through[1:], true
	return true
}

// walk realises targets, those of them that can be at once, until all are there or
// one has failed and the request does not want to go on. Release lets go of what
// nobody else keeps from garbage collection.
func (r *Realiser) walk(ctx context.Context, steps []*step, m Mode, u urgency) (release func(), err error) {
	var keeps []*keep
	release = func() { dropAll(keeps) }
	for todo := steps; len(todo) > 0; {
		wants := make([]want, len(todo))
		for i, s := range todo {
			wants[i] = s.want(m)
		}
		w := &wait{urgency: u}
		goals, err := r.graph.await(ctx, w, wants)
		keeps = append(keeps, w.keeps...)
		if err != nil {
			return release, err
		}
		var next []*step
		failed := false
		for i, s := range todo {
			s.goal, s.pending = goals[i], false
			res, finished := s.goal.outcome()
			if finished && res.err == nil && s.advance(r.dir) {
				next = append(next, s)
			}
			failed = failed || finished && res.err != nil || s.err != nil
		}
		if failed && !u.keepGoing {
			return release, nil
		}
		todo = next
	}
	return release, nil
}
