package realiser

import (
	"testing"

	"larder/store"
)

// What a NarInfo does not know beforehand, as that of an early program, is found out on the way.
func TestUnknownHash(t *testing.T) {
	cache := newFakeCache("cache", 1)
	l := newLab(t, func(o *Options) { o.Substituters = []Substituter{cache} })
	p := named(t, "unknown")
	cache.add(t, p)
	hash, size := cache.infos[p].NarHash, cache.infos[p].NarSize
	cache.infos[p].NarHash, cache.infos[p].NarSize = store.Hash{}, 0
	if err := l.realise(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if got, err := l.store.PathInfo(t.Context(), p); err != nil || got.NarHash != hash || got.NarSize != size {
		t.Errorf("%+v %v, want %v and %d", got, err, hash, size)
	}
}
