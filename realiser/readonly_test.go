package realiser

import (
	"errors"
	"testing"

	"larder/realiser/result"
	"larder/store"
)

func TestReadOnlyStore(t *testing.T) {
	cache := newFakeCache("cache", 1)
	l := withCaches(t, func(o *Options) { o.ReadOnly = true }, cache)
	p := named(t, "promised")
	cache.add(t, p)
	if err := l.realise(t.Context(), p); !errors.Is(err, store.ErrReadOnly) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
	drv, out := l.store.drv(t, "x", nil)
	if res := l.build(t, false, drv)[0]; res.Status != result.MiscFailure || !errors.Is(res.Err, store.ErrReadOnly) {
		t.Errorf("%v: %v", res.Status, res.Err)
	}
	if n := cache.queried(p) + cache.queried(out); n != 0 {
		t.Errorf("%d queries for what can't be stored", n)
	}
	l.store.infos[out] = &store.PathInfo{Path: out}
	if res := l.build(t, false, drv)[0]; res.Status != result.AlreadyValid {
		t.Errorf("%v: %v", res.Status, res.Err)
	}
	if err := l.realise(t.Context(), out); err != nil {
		t.Error(err)
	}
	delete(l.store.infos, out)
}
