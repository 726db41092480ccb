package local

import (
	"context"
	"sync"

	"larder/store"
)

// importLocks serialise those who want to produce the same path, so that one produces it and the others find it valid.
type importLocks struct {
	mu   sync.Mutex // guards held and the counts in it
	held map[store.StorePath]*importLock
}

type importLock struct {
	free  chan struct{} // holds one value while nobody has the lock
	users int           // who have it or wait for it
}

func (l *importLocks) init() { l.held = map[store.StorePath]*importLock{} }

func (l *importLocks) lock(ctx context.Context, p store.StorePath) error {
	l.mu.Lock()
	e := l.held[p]
	if e == nil {
		e = &importLock{free: make(chan struct{}, 1)}
		e.free <- struct{}{}
		l.held[p] = e
	}
	e.users++
	l.mu.Unlock()
	select {
	case <-e.free:
		return nil
	case <-ctx.Done():
		l.leave(p, e)
		return ctx.Err()
	}
}

func (l *importLocks) unlock(p store.StorePath) {
	l.mu.Lock()
	e := l.held[p]
	l.mu.Unlock()
	e.free <- struct{}{}
	l.leave(p, e)
}

func (l *importLocks) leave(p store.StorePath, e *importLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.users--; e.users == 0 {
		delete(l.held, p)
	}
}

// Lock takes the import locks of paths, in their order, so that callers who lock several can't wait for each other in a
// circle (unless they lock twice). GC spares locked paths. Look again whether a path is valid when you have its lock.
// unlock may be called more than once.
func (s *Store) Lock(ctx context.Context, paths ...store.StorePath) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sorted := store.SortPaths(paths)
	release := s.AddTempRoot(sorted...)
	for i, p := range sorted {
		if err := s.locks.lock(ctx, p); err != nil {
			for _, q := range sorted[:i] {
				s.locks.unlock(q)
			}
			release()
			return nil, err
		}
	}
	return sync.OnceFunc(func() {
		for _, p := range sorted {
			s.locks.unlock(p)
		}
		release()
	}), nil
}
