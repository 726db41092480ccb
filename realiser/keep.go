package realiser

import (
	"sync/atomic"

	"larder/store"
)

// keep holds temp roots on the outputs of a goal: the goal holds it until it is over,
// and everyone who waited for that until they are over in turn. The paths may not have
// been known before, and a request has targets that are made long before the last.
type keep struct {
	holders atomic.Int32
	release func()
}

// keepOutputs adds temp roots; the caller is the first holder.
func (r *Realiser) keepOutputs(paths []store.StorePath) *keep {
	k := &keep{release: r.store.AddTempRoot(paths...)}
	k.holders.Store(1)
	return k
}

func (k *keep) hold() { k.holders.Add(1) }

// drop ends the interest of one holder. Nil is fine.
func (k *keep) drop() {
	if k != nil && k.holders.Add(-1) == 0 {
		k.release()
	}
}

func dropAll(keeps []*keep) {
	for _, k := range keeps {
		k.drop()
	}
}
