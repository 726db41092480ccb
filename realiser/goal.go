package realiser

import (
	"context"
	"sync/atomic"
	"time"

	"larder/realiser/builder"
	"larder/store"
)

type goalKind uint8

const (
	pathGoal         goalKind = iota + 1 // a path, by whatever means
	substitutionGoal                     // a path, from substituters only
	derivationGoal                       // outputs of a derivation
)

func (k goalKind) String() string {
	return [...]string{"", "path", "substitution", "derivation"}[k]
}

// key identifies a goal. No two goals with the same key work at the same time.
type key struct {
	kind goalKind
	path store.StorePath
	mode Mode
}

// want is a key with the outputs that are wanted of a derivation (nil: all).
type want struct {
	key     key
	outputs []string
}

// goal is one thing to bring about.
type goal struct {
	key   key
	id    uint64
	ctx   context.Context // done when the goal is abandoned
	stop  context.CancelCauseFunc
	done  chan struct{}   // closed when result is there
	after <-chan struct{} // the end of an abandoned goal with the same key, or nil

	bytesDone, bytesTotal atomic.Int64 // of a NAR
	fetched               atomic.Int64 // bytes of its download
	keeps                 []*keep      // what it waited for; only its own goroutine uses it

	// Guarded by graph.mu.
	waiters  map[*wait]struct{}
	wait     *wait // what it waits for itself
	urgency  urgency
	wanted   outputSet // of a derivation
	ticket   *ticket   // its place in a queue for slots
	deciding bool      // it is about to say what it needs; counted in graph.deciding
	activity activity
	log      *builder.Log // of the running build
	grace    *time.Timer  // running while nobody waits
	finished bool
	visited  uint64 // stamp of the last search that came by

	result ending // valid when done is closed
}

// activity says what a goal is doing at the moment.
type activity struct {
	phase  Phase
	detail string // a URL, for example
	since  time.Time
}

// wait is one party's interest in a set of goals. All fields but ready are
// guarded by graph.mu.
type wait struct {
	parent  *goal // nil: somebody outside
	urgency urgency
	// tolerant: wait for all goals, whether or not some fail. Otherwise the first
	// failure ends the wait, unless urgency.keepGoing.
	tolerant bool

	pending map[*goal]struct{}
	keeps   []*keep       // of goals that have finished
	ready   chan struct{} // closed when there is nothing more to wait for
	over    bool          // ready is closed
}

// settleLocked notes that g has finished.
func (w *wait) settleLocked(g *goal) {
	delete(w.pending, g)
	if k := g.result.keep; k != nil {
		k.hold()
		w.keeps = append(w.keeps, k)
	}
	keepGoing := w.urgency.keepGoing
	if w.parent != nil {
		keepGoing = w.parent.urgency.keepGoing
	}
	failed := g.result.err != nil && !w.tolerant && !keepGoing
	if !w.over && (len(w.pending) == 0 || failed) {
		w.over = true
		close(w.ready)
	}
}

// urgency is what the waiters of a goal have in common with it: it gets the most
// urgent of each.
type urgency struct {
	priority  Priority
	request   uint64       // number of the oldest request
	caller    store.Caller // of that request
	keepGoing bool         // go on with other inputs when one fails
	rounds    int          // how often a builder runs at least, to compare what it makes
	keep      bool         // leave the build directories of failed builds …
	keepFor   store.Caller // … to this one, who asked for it
	fresh     bool         // do not take a remembered failure for an answer
}

// merge makes u at least as urgent as v and reports whether that changed it.
func (u *urgency) merge(v urgency) (changed bool) {
	old := *u
	u.priority = max(u.priority, v.priority)
	if v.request < u.request {
		u.request, u.caller = v.request, v.caller
	}
	u.keepGoing = u.keepGoing || v.keepGoing
	u.rounds = max(u.rounds, v.rounds)
	if v.keep && !u.keep {
		u.keep, u.keepFor = true, v.keepFor
	}
	u.fresh = u.fresh || v.fresh
	return *u != old
}

// outputSet is a set of output names, or all there are.
type outputSet struct {
	all   bool
	names map[string]struct{}
}

// add takes nil for all outputs.
func (s *outputSet) add(names []string) {
	if names == nil {
		s.all = true
	}
	for _, n := range names {
		if s.names == nil {
			s.names = map[string]struct{}{}
		}
		s.names[n] = struct{}{}
	}
}

func (s *outputSet) has(name string) bool {
	_, ok := s.names[name]
	return ok || s.all
}

// clone returns a copy that stays as it is.
func (s *outputSet) clone() outputSet {
	c := outputSet{all: s.all}
	for n := range s.names {
		c.add([]string{n})
	}
	return c
}

// equal relies on sets only ever growing.
func (s *outputSet) equal(o outputSet) bool {
	return s.all && o.all || s.all == o.all && len(s.names) == len(o.names)
}
