package fusefs

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"larder/store"
)

// forgetGrace is how long Invalidate waits for the kernel to forget. FORGETs
// that follow an invalidation come within a millisecond or so.
const forgetGrace = 500 * time.Millisecond

// retirements are the objects that somebody is about to delete. Until that is
// over LOOKUP shows a placeholder for them, and whoever asks for its attributes
// waits. Methods may be called concurrently.
type retirements struct {
	mu      sync.Mutex // guards what follows
	objects map[uint32]chan struct{}
}

// begin retires an object; false if somebody else does already.
func (r *retirements) begin(object uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.objects[object]; ok {
		return false
	}
	if r.objects == nil {
		r.objects = map[uint32]chan struct{}{}
	}
	r.objects[object] = make(chan struct{})
	return true
}

func (r *retirements) end(object uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.objects[object]; ok {
		close(c)
		delete(r.objects, object)
	}
}

// wait returns nil, or a channel that is closed when the deletion is over.
func (r *retirements) wait(object uint32) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.objects[object]; ok {
		return c
	}
	return nil
}

// awaitForgotten gives the kernel time to forget objects, and returns those that it still has.
func (f *FS) awaitForgotten(ctx context.Context, objects iter.Seq[uint32]) (held []uint32) {
	ctx, cancel := context.WithTimeout(ctx, forgetGrace)
	defer cancel()
	for n := range objects {
		select {
		case <-f.lookups.unused(n):
		case <-ctx.Done():
		}
		if f.lookups.held(n) {
			held = append(held, n)
		}
	}
	return held
}

// forgetInside takes the names inside of an object from the kernel, deepest first. An object that was in use when its own name
// was taken away keeps in the kernel what was in use, below no name, and without this for as long as memory lasts.
func (f *FS) forgetInside(n uint32) {
	if f.kernel == nil {
		return
	}
	x, err := f.indexes.get(n)
	if err != nil {
		return // it is not readable, so nothing in it can be in use
	}
	for e := uint32(x.len()); e > 1; e-- {
		dir := x.parents[e-1]
		f.kernel.EntryNotify(uint64(newNodeID(n, kindDirectory, dir)), x.name(e-1))
	}
}

// Invalidate makes the kernel forget objects that are about to be deleted. Those
// that it does not forget, because somebody has one open, mapped or as current
// directory, or looks at it right now, are returned as busy: they must not be
// deleted. The others are hidden until done is called, which must follow; a
// process that looks for one meanwhile waits, and realises it again afterwards.
//
// A number stands for a path, not for its contents, and what is deleted may come
// back with others under the same nodes: only what the kernel has forgotten may go.
// Call it from no request, and hold no lock that a Realiser or Objects needs.
func (f *FS) Invalidate(ctx context.Context, paths []store.StorePath) (busy []store.StorePath, done func()) {
	gone := map[uint32]store.StorePath{}
	for _, p := range paths {
		n, err := f.objects.Number(p)
		if err != nil || !f.retired.begin(n) {
			busy = append(busy, p)
			continue
		}
		gone[n] = p
	}
	for n, p := range gone {
		// What is not valid any more may have been known by another number.
		if f.kernel != nil && (f.lookups.held(n) || !f.objects.IsPresent(p)) {
			f.kernel.EntryNotify(uint64(rootID), p.String())
		}
	}
	held := f.awaitForgotten(ctx, maps.Keys(gone))
	for _, n := range held {
		f.forgetInside(n)
	}
	f.awaitForgotten(ctx, slices.Values(held))
	for n, p := range gone {
		if f.lookups.held(n) {
			busy = append(busy, p)
			delete(gone, n)
			f.retired.end(n)
			continue
		}
		f.indexes.drop(n)
		f.files.drop(func(id nodeID) bool { return id.object() == n })
	}
	return busy, func() {
		for n, p := range gone {
			f.retired.end(n)
			if !f.objects.IsPresent(p) {
				f.releaseUnused(n)
			}
		}
	}
}
