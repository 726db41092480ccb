package realiser

import (
	"cmp"
	"container/heap"
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Priority orders requests that compete for slots.
type Priority int8

const (
	Prefetch Priority = -1 // nobody waits for it
	Normal   Priority = 0  // somebody asked for it
	Access   Priority = 1  // a program is stopped in a system call until it is there
)

// rank orders tickets: the more urgent request first, of equal ones the older,
// within a request by name, so that the order does not depend on timing.
type rank struct {
	priority Priority
	request  uint64
	name     string
}

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(o.priority, r.priority), cmp.Compare(r.request, o.request), strings.Compare(r.name, o.name))
}

// ticket is a place in a queue.
type ticket struct {
	slots   *slots
	granted chan struct{}
	rank    rank // guarded by slots.mu
	index   int  // in the queue, -1 if not there; guarded by slots.mu
}

// maxPatience is how long a free slot waits for goals that are about to say what they need.
const maxPatience = 20 * time.Millisecond

// slots bounds how many of something happen at once.
type slots struct {
	capacity int
	// deciding is how many goals are about to say what they need. While there are any, free slots wait a little, so that
	// who asks at the same time is served in the order of ranks, and not in that of the scheduler. Nil: they do not wait.
	deciding    *atomic.Int64
	maxPatience time.Duration // how long they wait at most

	mu       sync.Mutex // guards what follows, and the tickets' fields
	used     int
	queue    ticketQueue
	patience *time.Timer // runs while slots are free and wait
	hurried  bool        // they have waited long enough for this queue
}

func newSlots(capacity int, deciding *atomic.Int64) *slots {
	return &slots{capacity: capacity, deciding: deciding, maxPatience: maxPatience}
}

// ticket makes a ticket that is not queued yet.
func (s *slots) ticket(r rank) *ticket {
	return &ticket{slots: s, granted: make(chan struct{}), rank: r, index: -1}
}

// enqueue asks for a slot. Who does must wait.
func (s *slots) enqueue(t *ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	heap.Push(&s.queue, t)
	s.grantLocked()
}

// grant gives out the slots that have waited, now that no goal is deciding.
func (s *slots) grant() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grantLocked()
}

// hurry gives out slots whether or not goals are deciding, until the queue is empty.
func (s *slots) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurried, s.patience = true, nil
	s.grantLocked()
}

// isGranted reports whether the ticket has got its slot.
func (t *ticket) isGranted() bool {
	select {
	case <-t.granted:
		return true
	default:
		return false
	}
}

// wait waits for the slot of a ticket that was enqueued. After an error the ticket holds none.
func (s *slots) wait(ctx context.Context, t *ticket) error {
	select {
	case <-t.granted:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.index >= 0 {
		heap.Remove(&s.queue, t.index)
	} else { // granted at the same moment
		s.used--
	}
	s.grantLocked()
	return context.Cause(ctx)
}

func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	s.grantLocked()
}

func (s *slots) grantLocked() {
	for s.used < s.capacity && len(s.queue) > 0 {
		if !s.hurried && s.deciding != nil && s.deciding.Load() > 0 {
			if s.patience == nil {
				s.patience = time.AfterFunc(s.maxPatience, s.hurry)
			}
			return
		}
		t := heap.Pop(&s.queue).(*ticket)
		s.used++
		close(t.granted)
	}
	if s.patience != nil {
		s.patience.Stop()
		s.patience = nil
	}
	if len(s.queue) == 0 {
		s.hurried = false
	}
}

// promote makes a ticket, queued or not, as urgent as its goal has become.
func (t *ticket) promote(u urgency) {
	t.slots.mu.Lock()
	defer t.slots.mu.Unlock()
	t.rank.priority, t.rank.request = u.priority, u.request
	if t.index >= 0 {
		heap.Fix(&t.slots.queue, t.index)
	}
}

func (s *slots) state() SlotState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SlotState{Capacity: s.capacity, Used: s.used, Queued: len(s.queue)}
}

// ticketQueue implements heap.Interface.
type ticketQueue []*ticket

func (q ticketQueue) Len() int           { return len(q) }
func (q ticketQueue) Less(i, j int) bool { return q[i].rank.compare(q[j].rank) < 0 }
func (q ticketQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *ticketQueue) Push(x any) {
	t := x.(*ticket)
	t.index = len(*q)
	*q = append(*q, t)
}
func (q *ticketQueue) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	t.index = -1
	return t
}
