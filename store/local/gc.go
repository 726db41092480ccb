package local

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"larder/store"
)

// GCOptions say what a garbage collection does. The zero value deletes everything that no root needs.
type GCOptions struct {
	// DryRun finds out what is dead and changes nothing.
	DryRun bool
	// Paths, if not empty, are the only ones to delete, with the dead paths that refer to them. One that is alive makes GC fail
	// with an *AliveError and delete nothing.
	Paths []store.StorePath
	// MaxFreed, if greater than 0, ends the collection when that many bytes have become free.
	MaxFreed int64
	// KeepOutputs keeps the outputs of live derivations, KeepDerivations the derivers of live paths, as in nix.conf.
	KeepOutputs, KeepDerivations bool
	// KeepUnregistered leaves alone what lies in the object directory without being registered. A collection that nobody asked
	// for must set it.
	KeepUnregistered bool
	// ExtraRoots, if not nil, is asked for further roots, such as what running programs use. It is called when every new temp
	// root already counts.
	ExtraRoots func(context.Context) ([]Root, error)
}

// GCResult is what a garbage collection did, also when it ended with an error.
type GCResult struct {
	// Paths that were deleted, referrers before references; in a dry run, that would be.
	Paths []store.StorePath
	// BytesFreed on disk: blocks of files whose last link went. In a dry run, the NAR size of Paths.
	BytesFreed int64
	// Live is how many paths stayed.
	Live int
	// Unregistered are names in the object directory that are not registered. They were deleted, too, unless KeepUnregistered,
	// DryRun or Paths was given; never names that no store makes.
	Unregistered []string
	// StaleRoots are links of users that are gone; they were dropped, unless in a dry run.
	StaleRoots []string
}

// AliveError says why a path was not deleted.
type AliveError struct {
	Dir   store.Dir
	Path  store.StorePath
	Root  Root
	Chain []store.StorePath // from the root's path to Path, each refers to the next
}

func (e *AliveError) Error() string {
	names := make([]string, len(e.Chain))
	for i, p := range e.Chain {
		names[i] = e.Dir.Join(p)
	}
	return fmt.Sprintf("%s is still alive, because of the root %s -> %s", e.Dir.Join(e.Path), e.Root.Link, strings.Join(names, " -> "))
}

// Delete is GC of just these paths.
func (s *Store) Delete(ctx context.Context, paths ...store.StorePath) (*GCResult, error) {
	if len(paths) == 0 {
		return &GCResult{}, nil
	}
	return s.GC(ctx, GCOptions{Paths: paths})
}

// GC deletes paths that no root needs, referrers first; decision 0033 explains why it can run beside everything else. One runs
// at a time. When ctx ends it stops between two paths and returns what it did with ctx's error; what it did not get to unlink
// then is unlinked by the next GC or Open.
//
// Errors: *AliveError, ErrReadOnly (unless in a dry run), what Options.ExtraRoots returned, and what the system said.
func (s *Store) GC(ctx context.Context, o GCOptions) (*GCResult, error) {
	if s.readOnly && !o.DryRun {
		return nil, ErrReadOnly
	}
	if err := s.db.enter(); err != nil {
		return nil, err
	}
	defer s.db.leave()
	select {
	case s.gc <- struct{}{}:
		defer func() { <-s.gc }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	// From here on whoever gets a temp root, even for a moment, is spared. So what was protected by one before now is either
	// still, or by something that the scans below find.
	s.roots.begin()
	defer s.roots.end()
	c := &collection{s: s, o: o, result: &GCResult{}}
	err := c.run(ctx)
	return c.result, err
}

// collection is one run of GC.
type collection struct {
	s      *Store
	o      GCOptions
	result *GCResult
	heap   *heap
}

func (c *collection) run(ctx context.Context) error {
	scan, err := c.s.findRoots(ctx)
	if err != nil {
		return err
	}
	roots := scan.roots
	if c.o.ExtraRoots != nil {
		extra, err := c.o.ExtraRoots(ctx)
		if err != nil {
			return fmt.Errorf("looking for roots: %w", err)
		}
		roots = append(roots, extra...)
	}
	for _, p := range c.s.roots.touchedPaths() {
		roots = append(roots, Root{Path: p, Link: TempRoot})
	}
	c.result.StaleRoots = scan.stale
	if err := c.mark(ctx, roots); err != nil {
		return err
	}
	dead, err := c.heap.dead(c.o.Paths)
	if err != nil {
		return err
	}
	if c.o.DryRun {
		return c.report(ctx, dead)
	}
	if err := errors.Join(c.s.rememberRoots(scan.seen), c.s.dropStale(scan.stale)); err != nil {
		return err
	}
	if err := c.sweep(ctx, dead); err != nil {
		return err
	}
	if err := c.s.sweepLinks(ctx); err != nil {
		return err
	}
	if len(c.o.Paths) == 0 {
		if err := c.sweepUnregistered(ctx); err != nil {
			return err
		}
		if err := c.s.pruneAnswers(ctx); err != nil {
			return err
		}
	}
	return c.s.settle()
}

// mark reads the graph of all paths and finds the live ones.
func (c *collection) mark(ctx context.Context, roots []Root) error {
	return c.s.view(ctx, func(r reader) (err error) {
		c.heap, err = c.s.readHeap(ctx, r, c.o)
		if err != nil {
			return err
		}
		err = c.heap.mark(r, roots)
		c.result.Live = len(c.heap.numbers) - c.heap.deadCount()
		return err
	})
}

// report fills in the result of a dry run.
func (c *collection) report(ctx context.Context, dead []uint32) error {
	err := c.s.view(ctx, func(r reader) error {
		for _, i := range dead {
			p, err := c.s.name(r, c.heap.numbers[i])
			if err != nil {
				return err
			}
			info, err := c.s.info(r, c.heap.numbers[i])
			if err != nil {
				return err
			}
			c.result.Paths = append(c.result.Paths, p)
			c.result.BytesFreed += int64(info.narSize)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.sweepUnregistered(ctx)
}
