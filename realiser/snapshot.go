package realiser

import (
	"cmp"
	"slices"
	"time"

	"larder/store"
)

// Snapshot is what a Realiser is doing at one moment.
type Snapshot struct {
	Goals     []GoalView `json:"goals"` // oldest first
	Builds    SlotState  `json:"builds"`
	Downloads SlotState  `json:"downloads"`
	Queries   SlotState  `json:"queries"`
	Counts    Counts     `json:"counts"`
}

// SlotState is the state of one kind of slots.
type SlotState struct {
	Capacity int `json:"capacity"`
	Used     int `json:"used"`
	Queued   int `json:"queued"` // goals that wait for one
}

// GoalView is what a goal is doing at one moment.
type GoalView struct {
	ID         uint64            `json:"id"`
	Kind       string            `json:"kind"`
	Path       store.StorePath   `json:"path"`
	Caller     store.Caller      `json:"caller"` // of the oldest request that wants it
	Waiters    int               `json:"waiters"`
	Phase      Phase             `json:"phase"`
	Detail     string            `json:"detail,omitempty"`
	Since      time.Time         `json:"since"` // when the phase began
	BytesDone  int64             `json:"bytesDone,omitempty"`
	BytesTotal int64             `json:"bytesTotal,omitempty"`
	WaitsFor   []store.StorePath `json:"waitsFor,omitempty"` // what the goals that it waits for are about
	LastLines  []string          `json:"lastLines,omitempty"`
}

// Status returns what is going on. It waits for nothing but locks that are held for a moment.
func (r *Realiser) Status() Snapshot {
	return Snapshot{
		Goals:  r.graph.views(),
		Builds: r.builds.state(), Downloads: r.downloads.state(), Queries: r.queries.state(),
		Counts: r.events.snapshot(),
	}
}

// views describes all goals that are wanted.
func (gr *graph) views() []GoalView {
	gr.mu.Lock()
	defer gr.mu.Unlock()
	return gr.viewsLocked(func(*goal) bool { return true })
}

// viewsLocked describes some of the goals that are wanted, oldest first.
func (gr *graph) viewsLocked(wanted func(*goal) bool) []GoalView {
	views := []GoalView{}
	for _, g := range gr.goals {
		if wanted(g) {
			views = append(views, g.viewLocked())
		}
	}
	slices.SortFunc(views, func(a, b GoalView) int { return cmp.Compare(a.ID, b.ID) })
	return views
}

func (g *goal) viewLocked() GoalView {
	v := GoalView{
		ID: g.id, Kind: g.key.kind.String(), Path: g.key.path, Caller: g.urgency.caller, Waiters: len(g.waiters),
		Phase: g.activity.phase, Detail: g.activity.detail, Since: g.activity.since,
		BytesDone: g.bytesDone.Load(), BytesTotal: g.bytesTotal.Load(),
	}
	if g.wait != nil {
		for child := range g.wait.pending {
			v.WaitsFor = append(v.WaitsFor, child.key.path)
		}
		v.WaitsFor = store.SortPaths(v.WaitsFor)
	}
	if g.log != nil {
		v.LastLines = g.log.Tail()
	}
	return v
}
