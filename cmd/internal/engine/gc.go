package engine

import (
	"context"
	"fmt"

	"larder/cmd/internal/control"
	"larder/store"
	"larder/store/local"
)

// Shown is a file system that shows the store's objects. *fusefs.FS is one.
type Shown interface {
	// Invalidate makes the kernel forget objects. Those that are in use are returned as busy and must not be deleted; the
	// others are hidden until done is called.
	Invalidate(ctx context.Context, paths []store.StorePath) (busy []store.StorePath, done func())
}

// Show tells the engine that its objects are shown by a file system from now on, nil: no longer.
func (e *Engine) Show(s Shown) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shown = s
}

// InUse stands for the link of a root that is somebody's open file or current directory in the mount.
const InUse = "{in use}"

// CollectGarbage implements control.Service. Where the store is mounted, what is about to be deleted is first taken from
// the kernel; what it does not give back is in use, and is a root.
func (e *Engine) CollectGarbage(ctx context.Context, q control.GCRequest) (*control.GCResult, error) {
	o := local.GCOptions{DryRun: q.DryRun, Paths: q.Paths, MaxFreed: int64(q.MaxFreed), KeepUnregistered: !q.Unregistered,
		KeepOutputs: e.config.KeepOutputs, KeepDerivations: e.config.KeepDerivations}
	e.mu.Lock()
	shown := e.shown
	e.mu.Unlock()
	if shown != nil && !q.DryRun {
		o.DryRun = true
		dead, err := e.store.GC(ctx, o)
		if err != nil {
			return nil, err
		}
		o.DryRun = false
		busy, done := shown.Invalidate(ctx, dead.Paths)
		defer done()
		o.ExtraRoots = func(context.Context) ([]local.Root, error) {
			roots := make([]local.Root, 0, len(busy))
			for _, p := range busy {
				roots = append(roots, local.Root{Path: p, Link: InUse})
			}
			return roots, nil
		}
	}
	r, err := e.store.GC(ctx, o)
	if err != nil {
		return nil, err
	}
	return &control.GCResult{Paths: r.Paths, Freed: uint64(max(r.BytesFreed, 0)), Live: r.Live,
		Unregistered: r.Unregistered, StaleRoots: r.StaleRoots}, nil
}

// makeRoom collects garbage because the disk gets full, until so many bytes have become free.
func (e *Engine) makeRoom(ctx context.Context, most uint64) (freed uint64, err error) {
	r, err := e.CollectGarbage(ctx, control.GCRequest{MaxFreed: most})
	if err != nil {
		return 0, err
	}
	e.log.Info("garbage was collected, because less than min-free was free", "freed", r.Freed, "paths", len(r.Paths))
	return r.Freed, nil
}

// onDelete is told of paths that are no longer valid, before their files vanish. Most of them CollectGarbage has taken from
// the kernel already; it must also forget those that died in between.
func (e *Engine) onDelete(ctx context.Context, paths []store.StorePath) error {
	e.mu.Lock()
	shown := e.shown
	e.mu.Unlock()
	if shown != nil {
		_, done := shown.Invalidate(ctx, paths)
		done()
	}
	return nil
}

// onReplace is told of paths that are about to get other objects. What the kernel does not forget keeps its object: a program
// that has it open would see parts of both.
func (e *Engine) onReplace(ctx context.Context, paths []store.StorePath) (done func(), err error) {
	e.mu.Lock()
	shown := e.shown
	e.mu.Unlock()
	if shown == nil {
		return func() {}, nil
	}
	busy, done := shown.Invalidate(ctx, paths)
	if len(busy) > 0 {
		done()
		return nil, fmt.Errorf("a program has %s open in the mount: end it, or unmount, and try again", e.Dir().Join(busy[0]))
	}
	return done, nil
}
