package realiser

import (
	"sync/atomic"

	"larder/store"
)

// keep holds temp roots on outputs whose paths nobody could know before they were
// made: the goal that made them holds it until it is over, and everyone who waited
// for that until they are over in turn.
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
