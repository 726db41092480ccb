package local_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"larder/store"
	"larder/store/local"
)

// TestGCBesideEverything lets collections run without pause while others register chains of objects, hold temp roots and
// count on what AddTempRoot promises.
func TestGCBesideEverything(t *testing.T) {
	t.Parallel()
	f := newFixture(t, quiet)
	ctx := context.Background()
	var workers sync.WaitGroup
	var deleted atomic.Int64
	for w := range 4 {
		workers.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			for range 60 {
				useStore(t, f, rnd)
			}
		})
	}
	stop := make(chan struct{})
	collected := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				collected <- nil
				return
			default:
			}
			result, err := f.GC(ctx, local.GCOptions{})
			if err != nil {
				collected <- err
				return
			}
			deleted.Add(int64(len(result.Paths)))
		}
	}()
	workers.Wait()
	close(stop)
	check(t, <-collected)
	if deleted.Load() == 0 {
		t.Error("nothing was deleted meanwhile, so nothing was tested")
	}
	f.checkWhole()
}

// useStore makes a chain of objects (some of which exist already) under temp roots and checks that it stays.
func useStore(t *testing.T, f *fixture, rnd *rand.Rand) {
	ctx := context.Background()
	chain := []string{}
	for i := range 4 {
		chain = append(chain, fmt.Sprintf("link-%d-%d", i, rnd.IntN(3)))
	}
	top := chain[len(chain)-1]
	var releases []func()
	defer func() {
		for _, r := range releases {
			r()
		}
	}()
	for i, name := range chain {
		releases = append(releases, f.AddTempRoot(path(name)))
		if f.valid(name) {
			continue
		}
		unlock, err := f.Lock(ctx, path(name))
		if err != nil {
			t.Error(err)
			return
		}
		var refs []string
		if i > 0 {
			refs = chain[i-1 : i]
		}
		err = f.Register(ctx, f.object(name, refs...))
		unlock()
		if err != nil {
			t.Errorf("registering %s: %v", name, err)
			return
		}
	}
	// Only the top: what it refers to must stay with it.
	for _, r := range releases[:len(releases)-1] {
		r()
	}
	closure, err := f.Closure(ctx, paths(top))
	if err != nil {
		t.Errorf("the closure of a temp root: %v", err)
		return
	}
	for _, p := range closure {
		if !f.whole(p.Name()) {
			t.Errorf("%s is kept by a temp root on %s and is not whole", p, top)
		}
	}
}

func TestConcurrentRegistrationsShareCommits(t *testing.T) {
	t.Parallel()
	var commits atomic.Int64
	f := newFixture(t, quiet, func(o *local.Options) {
		o.Testing.Hook = func(point string) error {
			if point == "register: committed" {
				commits.Add(1)
			}
			return nil
		}
	})
	const n = 64
	adds := make([]store.Addition, n)
	for i := range adds {
		adds[i] = f.object(fmt.Sprint("object-", i))
	}
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			if err := f.Register(context.Background(), adds[i]); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
	if got := commits.Load(); got >= n {
		t.Errorf("%d commits for %d registrations", got, n)
	}
	f.checkWhole()
}

// TestSamePathAtOnce: all who register one path succeed, one object stays.
func TestSamePathAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, quiet)
	var wg sync.WaitGroup
	for range 16 {
		a := f.object("same")
		wg.Go(func() {
			if err := f.Register(context.Background(), a); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f.checkWhole()
}

func TestLock(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, cancel := context.WithCancel(context.Background())
	unlock, err := f.Lock(ctx, paths("b", "a")...)
	check(t, err)
	waiting := make(chan error, 1)
	go func() {
		_, err := f.Lock(ctx, paths("a")...)
		waiting <- err
	}()
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled waiter got %v", err)
	}
	unlock()
	unlock()
	again, err := f.Lock(context.Background(), paths("a", "b")...)
	check(t, err)
	again()
}

func TestGCInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	f := newFixture(t, quiet, func(o *local.Options) {
		o.OnDelete = func(context.Context, []store.StorePath) error { cancel(); return nil }
	})
	for i := range 20 {
		f.register(fmt.Sprint("object-", i))
	}
	result, err := f.GC(ctx, local.GCOptions{})
	if !errors.Is(err, context.Canceled) || len(result.Paths) != 20 {
		t.Errorf("deleted %d, %v", len(result.Paths), err)
	}
	_, err = f.GC(context.Background(), local.GCOptions{})
	check(t, err)
	if got := f.files(); len(got) != 0 {
		t.Errorf("files left: %q", got)
	}
}
