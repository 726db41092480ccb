package realiser

import (
	"sync"
	"time"

	"larder/realiser/builder"
	"larder/realiser/result"
	"larder/store"
)

// EventVersion is the version of [Event]. It grows when a field changes its
// meaning; new fields do not change it.
const EventVersion = 1

// EventType says what an event is about, and which of its fields are set.
type EventType string

const (
	GoalStarted  EventType = "goal-started"
	GoalPhase    EventType = "goal-phase"    // Phase, Detail
	GoalProgress EventType = "goal-progress" // BytesDone, BytesTotal
	GoalLog      EventType = "goal-log"      // Line
	GoalMessage  EventType = "goal-message"  // Message
	GoalFinished EventType = "goal-finished" // Status, Error
	CountsChange EventType = "counts"        // Counts; no goal

	CollectionStarted  EventType = "collection-started"  // Detail, BytesTotal: what shall be freed; no goal
	CollectionFinished EventType = "collection-finished" // BytesDone: what was freed, Error; no goal
)

// Phase is what a goal is doing.
type Phase string

const (
	PhaseStarting    Phase = "starting"
	PhaseWaiting     Phase = "waiting for other goals"
	PhaseQueued      Phase = "waiting for a slot"
	PhaseQuerying    Phase = "asking a substituter"
	PhaseLocked      Phase = "waiting for a lock"
	PhaseDownloading Phase = "downloading"
	PhaseBuilding    Phase = "building"
	PhaseRegistering Phase = "registering"
	PhaseCollecting  Phase = "waiting for garbage collection"
	PhaseHook        Phase = "running a hook"
)

// Event is something that happened. Events are values; receivers may keep them.
type Event struct {
	Version int             `json:"version"`
	Seq     uint64          `json:"seq"` // grows by one with each event of a Realiser
	Time    time.Time       `json:"time"`
	Type    EventType       `json:"type"`
	Goal    uint64          `json:"goal,omitempty"`
	Kind    string          `json:"kind,omitempty"` // "path", "substitution", "derivation"
	Path    store.StorePath `json:"path,omitzero"`
	Mode    Mode            `json:"mode,omitzero"`   // of the goal
	Caller  store.Caller    `json:"caller,omitzero"` // of the oldest request that wants the goal

	Phase      Phase            `json:"phase,omitempty"`
	Detail     string           `json:"detail,omitempty"` // a URL, the kind of slot, …
	Line       string           `json:"line,omitempty"`
	Message    *builder.Message `json:"message,omitempty"`   // of a builder; not to be changed
	BytesDone  int64            `json:"bytesDone,omitempty"` // of the unpacked NAR
	BytesTotal int64            `json:"bytesTotal,omitempty"`
	Status     result.Status    `json:"status,omitempty"`
	Error      string           `json:"error,omitempty"`
	Counts     *Counts          `json:"counts,omitempty"`
}

// Counts sum up what a Realiser has done and is about to do since it was made.
type Counts struct {
	Builds        Count `json:"builds"`
	Substitutions Count `json:"substitutions"`
	Bytes         Count `json:"bytes"`     // of unpacked NARs; Running and Failed are not used
	Downloads     Count `json:"downloads"` // the same, as they were transferred
}

// Count is one line of Counts. Expected includes Running, Done and Failed. What turns out not to be needed is no longer expected;
// what fails because of a dependency is not counted as failed.
type Count struct {
	Expected int64 `json:"expected"`
	Running  int64 `json:"running"`
	Done     int64 `json:"done"`
	Failed   int64 `json:"failed"`
}

// Subscription receives events until Close.
type Subscription struct {
	events  *events
	ch      chan Event
	dropped uint64 // guarded by events.mu
}

// Events is the channel of events. Close closes it.
func (s *Subscription) Events() <-chan Event { return s.ch }

// Dropped is how many events were lost because the buffer was full.
func (s *Subscription) Dropped() uint64 {
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	return s.dropped
}

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() {
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	if _, open := s.events.subscribers[s]; open {
		delete(s.events.subscribers, s)
		close(s.ch)
	}
}

// events hands events to subscribers and never waits for one.
type events struct {
	now func() time.Time

	mu          sync.Mutex // guards what follows
	seq         uint64
	counts      Counts
	subscribers map[*Subscription]struct{}
}

func (e *events) subscribe(buffer int) *Subscription {
	s := &Subscription{events: e, ch: make(chan Event, max(buffer, 1))}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.subscribers == nil {
		e.subscribers = map[*Subscription]struct{}{}
	}
	e.subscribers[s] = struct{}{}
	return s
}

func (e *events) publish(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.publishLocked(ev)
}

func (e *events) publishLocked(ev Event) {
	e.seq++
	if len(e.subscribers) == 0 {
		return
	}
	ev.Version, ev.Seq, ev.Time = EventVersion, e.seq, e.now()
	for s := range e.subscribers {
		select {
		case s.ch <- ev:
		default:
			s.dropped++
		}
	}
}

// count changes the counts.
func (e *events) count(change func(*Counts)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.counts)
	if len(e.subscribers) > 0 {
		c := e.counts
		e.publishLocked(Event{Type: CountsChange, Counts: &c})
	}
}

func (e *events) snapshot() Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts
}

// close ends all subscriptions.
func (e *events) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for s := range e.subscribers {
		delete(e.subscribers, s)
		close(s.ch)
	}
}

// event fills in what all events of a goal have in common.
func (r *Realiser) event(g *goal, t EventType) Event {
	r.graph.mu.Lock()
	defer r.graph.mu.Unlock()
	return Event{Type: t, Goal: g.id, Kind: g.key.kind.String(), Path: g.key.path, Mode: g.key.mode, Caller: g.urgency.caller}
}

// enter notes and tells what a goal does from now on.
func (r *Realiser) enter(g *goal, p Phase, detail string) {
	r.graph.mu.Lock()
	g.activity = activity{p, detail, r.opt.Now()}
	switch p {
	case PhaseStarting, PhaseWaiting, PhaseQueued, PhaseLocked: // it is going to ask, or has
	default:
		r.graph.decidedLocked(g)
	}
	r.graph.mu.Unlock()
	ev := r.event(g, GoalPhase)
	ev.Phase, ev.Detail = p, detail
	r.events.publish(ev)
}
