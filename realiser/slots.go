package realiser

import (
	"cmp"
	"container/heap"
	"context"
	"strings"
	"sync"
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

// slots bounds how many of something happen at once.
type slots struct {
	capacity int

	mu    sync.Mutex // guards used, queue and the tickets' fields
	used  int
	queue ticketQueue
}

func newSlots(capacity int) *slots { return &slots{capacity: capacity} }

// ticket makes a ticket that is not queued yet.
func (s *slots) ticket(r rank) *ticket {
	return &ticket{slots: s, granted: make(chan struct{}), rank: r, index: -1}
}

// tryAcquire takes a slot if one is free and nobody queues for it.
func (s *slots) tryAcquire() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used < s.capacity && len(s.queue) == 0 {
		s.used++
		return true
	}
	return false
}

// acquire waits for a slot. After an error the ticket holds none.
func (s *slots) acquire(ctx context.Context, t *ticket) error {
	s.mu.Lock()
	heap.Push(&s.queue, t)
	s.grantLocked()
	s.mu.Unlock()
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
		s.grantLocked()
	}
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
		t := heap.Pop(&s.queue).(*ticket)
		s.used++
		close(t.granted)
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
