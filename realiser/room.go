package realiser

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Room says when garbage is collected because the disk gets full. The zero value never does.
type Room struct {
	MinFree  uint64        // collect if less is free (min-free), in bytes; 0: never
	MaxFree  uint64        // until so much is free (max-free); 0: all that can be had
	Interval time.Duration // look so often (min-free-check-interval); 0: 5 s
	// Collect deletes what nobody needs until so many bytes are free more, and returns how many it were. It must spare
	// what has temp roots, and what is not registered.
	Collect func(ctx context.Context, most uint64) (freed uint64, err error)
	// Free is how many bytes are free; nil: on the file system of the objects.
	Free func() (uint64, error)
}

// room makes room on the disk while goals are at work.
type room struct {
	Room
	events *events
	now    func() time.Time
	warn   func(msg string, args ...any)
	done   sync.WaitGroup // the collection, and who looks regularly

	mu         sync.Mutex // guards what follows
	looked     time.Time
	collection chan struct{} // closed when the collection that runs has ended; nil if none does
	freeAfter  uint64        // what was free after the last one
}

func newRoom(o *Options, e *events) *room {
	r := &room{Room: o.Room, events: e, now: o.Now, warn: o.Logger.Warn, freeAfter: math.MaxUint64}
	setDefault(&r.MaxFree, math.MaxInt64)
	setDefault(&r.Interval, 5*time.Second)
	if r.Free == nil {
		dir := o.Store.ObjectDir()
		r.Free = func() (uint64, error) {
			var st unix.Statfs_t
			if err := unix.Statfs(dir, &st); err != nil {
				return 0, fmt.Errorf("statfs %s: %w", dir, err)
			}
			return st.Bavail * uint64(st.Frsize), nil
		}
	}
	return r
}

func (r *room) never() bool { return r.MinFree == 0 || r.Collect == nil }

// start looks regularly, until ctx ends, while something is at work: a build may fill the disk by itself.
func (r *room) start(ctx context.Context) {
	if r.never() {
		return
	}
	r.done.Go(func() {
		tick := time.NewTicker(r.Interval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if c := r.events.snapshot(); c.Builds.Running+c.Substitutions.Running > 0 {
				r.look(ctx)
			}
		}
	})
}

// look starts a collection if the disk is full, and it is time to look. It returns what is closed when the collection that
// runs has ended, or nil. There is never more than one.
func (r *room) look(ctx context.Context) <-chan struct{} {
	if r.never() {
		return nil
	}
	r.mu.Lock()
	running, after, early := r.collection, r.freeAfter, r.now().Sub(r.looked) < r.Interval
	if running == nil && !early {
		r.looked = r.now() // nobody else looks now
	}
	r.mu.Unlock()
	if running != nil || early {
		return running
	}
	free, err := r.Free()
	if err != nil {
		r.warn("how much of the disk is free cannot be found out", "err", err)
		return nil
	}
	// Where the last collection could not free enough, another one makes sense only after more garbage was made.
	if free >= min(r.MinFree, r.MaxFree) || float64(free) > 0.97*float64(after) {
		return nil
	}
	return r.begin(ctx, free)
}

func (r *room) begin(ctx context.Context, free uint64) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.collection != nil {
		return r.collection
	}
	ended := make(chan struct{})
	r.collection = ended
	r.done.Go(func() {
		r.collect(ctx, free)
		r.mu.Lock()
		r.collection = nil
		r.mu.Unlock()
		close(ended)
	})
	return ended
}

// collect makes room, and tells of it.
func (r *room) collect(ctx context.Context, free uint64) {
	most := r.MaxFree - free
	r.events.publish(Event{Type: CollectionStarted, Detail: fmt.Sprintf("%d bytes are free, less than min-free", free), BytesTotal: int64(min(most, math.MaxInt64))})
	freed, err := r.Collect(ctx, most)
	ev := Event{Type: CollectionFinished, BytesDone: int64(freed)}
	if err != nil {
		ev.Error = err.Error()
		r.warn("garbage could not be collected", "err", err)
	}
	r.events.publish(ev)
	if free, err := r.Free(); err == nil {
		r.mu.Lock()
		r.freeAfter = free
		r.mu.Unlock()
	}
}

// makeRoom waits, as goal g, for the collection that runs or that turns out to be needed. The caller holds no slot.
func (r *Realiser) makeRoom(g *goal) error {
	ended := r.room.look(r.base)
	if ended == nil {
		return nil
	}
	r.enter(g, PhaseCollecting, "")
	select {
	case <-ended:
		return nil
	case <-g.ctx.Done():
		return context.Cause(g.ctx)
	}
}
