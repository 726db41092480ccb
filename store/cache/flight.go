package cache

import (
	"context"
	"sync"
)

// flights lets callers who want the same thing at the same time share one attempt to get it. The attempt belongs to all of
// them: it goes on when one leaves, and is cancelled when the last one does, who waits for its end.
type flights[K comparable, V any] struct {
	mu     sync.Mutex // guards flying and the waiters of each flight
	flying map[K]*flight[V]
}

type flight[V any] struct {
	waiters int
	cancel  context.CancelFunc
	done    chan struct{} // closed when value and err are set
	value   V
	err     error
}

// do returns what fn returns, called by this or by another caller.
func (f *flights[K, V]) do(ctx context.Context, key K, fn func(context.Context) (V, error)) (V, error) {
	one := f.join(ctx, key, fn)
	select {
	case <-one.done:
		f.leave(key, one)
		return one.value, one.err
	case <-ctx.Done():
		if f.leave(key, one) {
			<-one.done
		}
		var none V
		return none, context.Cause(ctx)
	}
}

func (f *flights[K, V]) join(ctx context.Context, key K, fn func(context.Context) (V, error)) *flight[V] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one := f.flying[key]; one != nil {
		one.waiters++
		return one
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	one := &flight[V]{waiters: 1, cancel: cancel, done: make(chan struct{})}
	if f.flying == nil {
		f.flying = map[K]*flight[V]{}
	}
	f.flying[key] = one
	go func() {
		defer close(one.done)
		one.value, one.err = fn(ctx)
	}()
	return one
}

// leave reports whether the caller was the last one.
func (f *flights[K, V]) leave(key K, one *flight[V]) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	// A caller who comes now starts anew, whether this flight has ended or is being cancelled.
	one.waiters--
	if one.waiters > 0 {
		return false
	}
	if f.flying[key] == one {
		delete(f.flying, key)
	}
	one.cancel()
	return true
}
