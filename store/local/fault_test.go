package local_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"larder/store/local"
)

var errInjected = errors.New("injected")

// work is what the fault tests do to a store: everything that writes.
func (f *fixture) work() error {
	ctx := context.Background()
	if err := f.Register(ctx, f.object("a"), f.object("b", "a")); err != nil {
		return err
	}
	if err := f.Register(ctx, f.object("c", "b")); err != nil {
		return err
	}
	if _, err := f.GC(ctx, local.GCOptions{Paths: paths("c")}); err != nil {
		return err
	}
	return f.Register(ctx, f.object("c", "a"))
}

// TestEveryStepFails lets the first step fail, then the second, and so on until the work gets through. After each failure
// the store must be in order, at once and when it is opened again.
func TestEveryStepFails(t *testing.T) {
	t.Parallel()
	for i := int64(0); ; i++ {
		var step atomic.Int64 // the hook is called by several goroutines
		var on atomic.Bool
		on.Store(true)
		f := newFixture(t, func(o *local.Options) {
			o.Testing.Hook = func(point string) error {
				if n := step.Add(1); on.Load() && n == i+1 {
					return errInjected
				}
				return nil
			}
		})
		err := f.work()
		if err == nil && step.Load() <= i {
			if i < 10 {
				t.Fatalf("only %d steps", i)
			}
			return
		}
		if err != nil && !errors.Is(err, errInjected) {
			t.Fatalf("step %d: %v", i, err)
		}
		on.Store(false)
		for p, err := range f.AllValid(context.Background()) {
			check(t, err)
			if !f.whole(p.Name()) {
				t.Errorf("step %d: %s is valid and not whole", i, p)
			}
		}
		f.reopen()
		f.checkWhole()
		if err := f.work(); err != nil {
			t.Errorf("step %d: and then: %v", i, err)
		}
	}
}

// TestEveryDatabaseWriteFails does the same with the writes and syncs of the database.
func TestEveryDatabaseWriteFails(t *testing.T) {
	t.Parallel()
	for i := int32(0); ; i++ {
		index := errorfs.OnIndex(i)
		writes := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind != errorfs.OpFileWrite && op.Kind != errorfs.OpFileSync && op.Kind != errorfs.OpFileSyncData {
				return nil
			}
			if index.MaybeError(op) != nil {
				return errInjected
			}
			return nil
		})
		toggle := &errorfs.Toggle{Injector: writes}
		f := newFixture(t, func(o *local.Options) { o.Testing.FS = errorfs.Wrap(vfs.Default, toggle) })
		toggle.On()
		err := f.workSafely()
		toggle.Off()
		if err == nil {
			if i < 4 {
				t.Fatalf("only %d writes", i)
			}
			return
		}
		if err := f.Close(); err != nil {
			t.Logf("write %d: closing: %v", i, err)
		}
		f.Store = nil
		f.options.Testing.FS = nil
		f.open()
		f.checkWhole()
		if err := f.work(); err != nil {
			t.Errorf("write %d: and then: %v", i, err)
		}
	}
}

// workSafely is work whose preparations may fail as well.
func (f *fixture) workSafely() error {
	if _, err := f.NewTemp(context.Background()); err != nil {
		return err
	}
	if _, err := f.Number(path("a")); err != nil {
		return err
	}
	return f.work()
}
