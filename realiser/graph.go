package realiser

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"larder/realiser/builder"
)

// ErrClosed is the failure of everything that is asked of a closed Realiser.
var ErrClosed = errors.New("larder is shutting down")

// errAbandoned is why the context of a goal ends when nobody wants it any more.
var errAbandoned = errors.New("nobody waits for it any more")

// graph holds the goals that are at work and who waits for whom. It knows
// nothing of what goals do.
type graph struct {
	base  context.Context
	grace time.Duration
	run   func(*goal)       // does the work of a goal and ends with finish
	past  func(key) *ending // a remembered failure, or nil

	deciding *atomic.Int64 // how many goals are about to say what they need
	calm     func()        // called, with the lock held, when there are none any more

	running sync.WaitGroup // one for each goal's goroutine

	// mu guards everything below, the waits, and the fields of goals that say so.
	// The locks of slots and failures may be taken while it is held.
	mu     sync.Mutex
	goals  map[key]*goal // those that can be joined
	dying  map[key]*goal // abandoned ones that have not ended, the youngest of each key
	lastID uint64
	stamp  uint64
	closed bool
}

func newGraph(base context.Context, grace time.Duration) *graph {
	return &graph{base: base, grace: grace, goals: map[key]*goal{}, dying: map[key]*goal{}}
}

// await joins the goals that are wanted, starts those that do not exist, and
// returns when there is nothing more to wait for (see wait.tolerant) or ctx is
// done. Goals are returned in the order of wants; those that have not finished
// are left to their other waiters. parent is the waiting goal, or nil.
func (gr *graph) await(ctx context.Context, w *wait, wants []want) ([]*goal, error) {
	goals, err := gr.join(w, wants)
	if err != nil {
		return nil, err
	}
	defer gr.leave(w)
	select {
	case <-w.ready:
		return goals, nil
	default:
	}
	select {
	case <-w.ready:
		return goals, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (gr *graph) join(w *wait, wants []want) ([]*goal, error) {
	gr.mu.Lock()
	defer gr.mu.Unlock()
	if gr.closed {
		return nil, ErrClosed
	}
	if w.parent != nil {
		w.urgency = w.parent.urgency
		if w.parent.key.kind == substitutionGoal || w.parent.key.mode.repairs() {
			if err := gr.checkCycleLocked(w.parent, wants); err != nil {
				return nil, err
			}
		}
		w.parent.wait = w
	}
	w.pending = make(map[*goal]struct{}, len(wants))
	w.ready = make(chan struct{})
	goals := make([]*goal, len(wants))
	for i, wanted := range wants {
		goals[i] = gr.goalLocked(wanted, w.urgency)
		if !goals[i].finished {
			w.pending[goals[i]] = struct{}{}
		}
	}
	for g := range w.pending {
		g.waiters[w] = struct{}{}
	}
	for _, g := range goals {
		if g.finished {
			w.settleLocked(g)
		}
	}
	if len(wants) == 0 {
		w.over = true
		close(w.ready)
	}
	if w.parent != nil && !w.over {
		gr.decidedLocked(w.parent)
	}
	return goals, nil
}

// goalLocked returns the goal for a want: one that is at work, a finished one if
// a failure is remembered, or a new one.
func (gr *graph) goalLocked(wanted want, u urgency) *goal {
	if g := gr.goals[wanted.key]; g != nil {
		if g.grace != nil {
			g.grace.Stop()
			g.grace = nil
		}
		g.wanted.add(wanted.outputs)
		gr.urgeLocked(g, u)
		return g
	}
	if !u.fresh {
		if past := gr.past(wanted.key); past != nil {
			g := &goal{key: wanted.key, finished: true, result: *past, done: make(chan struct{})}
			close(g.done)
			return g
		}
	}
	gr.lastID++
	g := &goal{key: wanted.key, id: gr.lastID, done: make(chan struct{}), waiters: map[*wait]struct{}{}, urgency: u}
	g.ctx, g.stop = context.WithCancelCause(gr.base)
	g.wanted.add(wanted.outputs)
	if old := gr.dying[wanted.key]; old != nil {
		g.after = old.done
	}
	gr.goals[wanted.key] = g
	gr.decideLocked(g)
	gr.running.Go(func() {
		if g.after != nil {
			<-g.after
		}
		gr.run(g)
	})
	return g
}

// decideLocked notes that g is about to say what it needs.
func (gr *graph) decideLocked(g *goal) {
	if !g.deciding && !g.finished {
		g.deciding = true
		gr.deciding.Add(1)
	}
}

// decidedLocked notes that g has said what it needs, or is at work.
func (gr *graph) decidedLocked(g *goal) {
	if g.deciding {
		g.deciding = false
		if gr.deciding.Add(-1) == 0 {
			gr.calm()
		}
	}
}

func (gr *graph) decided(g *goal) {
	gr.mu.Lock()
	defer gr.mu.Unlock()
	gr.decidedLocked(g)
}

// urgeLocked passes urgency on to a goal and to all that it waits for.
func (gr *graph) urgeLocked(g *goal, u urgency) {
	if g.finished || !g.urgency.merge(u) {
		return
	}
	if g.ticket != nil {
		g.ticket.promote(g.urgency)
	}
	if g.wait != nil {
		for child := range g.wait.pending {
			gr.urgeLocked(child, g.urgency)
		}
	}
}

// checkCycleLocked refuses a wait that would make parent wait for itself.
func (gr *graph) checkCycleLocked(parent *goal, wants []want) error {
	gr.stamp++
	for _, wanted := range wants {
		if g := gr.goals[wanted.key]; g != nil && gr.reachesLocked(g, parent) {
			return fmt.Errorf("%w: %s and %s refer to each other", errCycle, parent.key.path, wanted.key.path)
		}
	}
	return nil
}

var errCycle = errors.New("circular references")

// reachesLocked reports whether from waits, at whatever distance, for to.
func (gr *graph) reachesLocked(from, to *goal) bool {
	if from == to {
		return true
	}
	if from.visited == gr.stamp || from.wait == nil {
		return false
	}
	from.visited = gr.stamp
	for child := range from.wait.pending {
		if gr.reachesLocked(child, to) {
			return true
		}
	}
	return false
}

// leave ends a wait. Goals that nobody wants any more are abandoned: at once if
// a goal leaves (it ended itself, or was given its grace), else after a grace.
func (gr *graph) leave(w *wait) {
	gr.mu.Lock()
	defer gr.mu.Unlock()
	if w.parent != nil {
		w.parent.wait = nil
	}
	for g := range w.pending {
		delete(g.waiters, w)
		if len(g.waiters) > 0 {
			continue
		}
		if w.parent != nil || gr.grace <= 0 {
			gr.abandonLocked(g)
			continue
		}
		var timer *time.Timer
		timer = time.AfterFunc(gr.grace, func() {
			gr.mu.Lock()
			defer gr.mu.Unlock()
			if g.grace == timer { // else somebody joined in the meantime
				gr.abandonLocked(g)
			}
		})
		g.grace = timer
	}
	w.pending = nil
}

func (gr *graph) abandonLocked(g *goal) {
	if g.finished || gr.goals[g.key] != g {
		return
	}
	delete(gr.goals, g.key)
	gr.dying[g.key] = g
	g.stop(errAbandoned)
}

// finish gives the result of g to its waiters. It refuses, and returns false, if
// served is not nil and more outputs became wanted than were served.
func (gr *graph) finish(g *goal, res ending, served *outputSet) bool {
	gr.mu.Lock()
	defer gr.mu.Unlock()
	if served != nil && !g.wanted.equal(*served) && g.ctx.Err() == nil {
		return false
	}
	g.result = res
	g.finished = true
	if gr.goals[g.key] == g {
		delete(gr.goals, g.key)
	}
	if gr.dying[g.key] == g {
		delete(gr.dying, g.key)
	}
	if g.grace != nil {
		g.grace.Stop()
		g.grace = nil
	}
	for w := range g.waiters {
		w.settleLocked(g)
		if w.over && w.parent != nil {
			gr.decideLocked(w.parent)
		}
	}
	g.waiters = nil
	gr.decidedLocked(g)
	g.stop(nil)
	close(g.done)
	return true
}

// close abandons all goals and waits for their ends.
func (gr *graph) close() {
	gr.mu.Lock()
	gr.closed = true
	for _, g := range gr.goals {
		g.stop(ErrClosed)
	}
	gr.mu.Unlock()
	gr.running.Wait()
}

// wantedOutputs is what is wanted of g at this moment.
func (gr *graph) wantedOutputs(g *goal) outputSet {
	gr.mu.Lock()
	defer gr.mu.Unlock()
	return g.wanted.clone()
}

// urgencyOf is how urgent g is at this moment, and for whom.
func (gr *graph) urgencyOf(g *goal) urgency {
	gr.mu.Lock()
	defer gr.mu.Unlock()
	return g.urgency
}

// queue gives g a ticket that follows its urgency until unqueue.
func (gr *graph) queue(g *goal, s *slots) *ticket {
	gr.mu.Lock()
	defer gr.mu.Unlock()
	name := g.key.path.Name() + "\x00" + g.key.path.String()
	g.ticket = s.ticket(rank{g.urgency.priority, g.urgency.request, name})
	return g.ticket
}

func (gr *graph) unqueue(g *goal) {
	gr.mu.Lock()
	defer gr.mu.Unlock()
	g.ticket = nil
}

// setLog says where the output of g's builder goes; nil when it has ended.
func (gr *graph) setLog(g *goal, l *builder.Log) {
	gr.mu.Lock()
	defer gr.mu.Unlock()
	g.log = l
}
