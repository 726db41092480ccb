package local

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"larder/nar/tree"
)

// bin unlinks what was thrown into it, in a goroutine of its own that close waits for.
type bin struct {
	s       *Store
	ctx     context.Context
	links   uint64 // how many names a file has that is freed, see links.go
	names   chan string
	pending sync.WaitGroup // names that were added and not dealt with
	worker  sync.WaitGroup
	bytes   atomic.Int64

	mu  sync.Mutex // guards err
	err error
}

func (s *Store) openBin(ctx context.Context) *bin {
	b := &bin{s: s, ctx: ctx, links: s.linksOfFreed(), names: make(chan string, sweepBatch)}
	b.worker.Go(b.work)
	for _, name := range s.leftover.take() {
		b.add(name)
	}
	return b
}

func (b *bin) work() {
	for name := range b.names {
		if err := b.unlink(name); err != nil {
			b.mu.Lock()
			b.err = errors.Join(b.err, err)
			b.mu.Unlock()
		}
		b.pending.Done()
	}
}

func (b *bin) unlink(name string) error {
	err := b.ctx.Err()
	if err == nil {
		err = b.s.point(pointUnlink)
	}
	if err == nil {
		var freed int64
		freed, err = tree.RemoveLinkedAt(b.ctx, b.s.objects, name, b.links)
		b.bytes.Add(freed)
	}
	if err != nil {
		b.s.leftover.add(name)
		if b.ctx.Err() != nil {
			return nil // the caller knows
		}
		return fmt.Errorf("unlinking %s: %w", b.s.objectDir+"/"+name, err)
	}
	b.s.temps.done(name)
	return nil
}

// add takes a temporary name over. It waits if much is left to do.
func (b *bin) add(name string) {
	b.pending.Add(1)
	b.names <- name
}

// drain waits until everything added is unlinked, and returns what went wrong so far.
func (b *bin) drain() error {
	b.pending.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *bin) freed() int64 { return b.bytes.Load() }

func (b *bin) close() error {
	close(b.names)
	b.worker.Wait()
	return b.drain()
}

// leftover are temporary names that a collection could not unlink, for the next one.
type leftover struct {
	mu    sync.Mutex // guards names
	names []string
}

func (l *leftover) add(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names = append(l.names, name)
}

func (l *leftover) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := l.names
	l.names = nil
	return names
}
