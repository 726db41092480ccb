package fusefs

import (
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"larder/store"
)

// kindMemory remembers what kind of thing an object was when it was last here,
// for at least the last max objects. Methods may be called concurrently.
type kindMemory struct {
	max int

	mu       sync.Mutex // guards what follows
	now, old map[uint32]kind
}

func newKindMemory(max int) *kindMemory { return &kindMemory{max: max, now: map[uint32]kind{}} }

func (m *kindMemory) set(object uint32, k kind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.now) >= m.max {
		m.now, m.old = map[uint32]kind{}, m.now
	}
	m.now[object] = k
}

func (m *kindMemory) get(object uint32) (kind, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.now[object]
	if !ok {
		k, ok = m.old[object]
	}
	return k, ok
}

// placeholder is the node that stands for an absent object. Its kind is a
// guess; a wrong one costs a retry (ESTALE) when the object has come.
//
// While the kernel reads a symlink that it will cache, it holds a lock on the
// inode that not even SIGKILL gets past. So everybody gets a symlink
// placeholder of his own: an alias.
func (f *FS) placeholder(n uint32, p store.StorePath, h *fuse.InHeader) nodeID {
	k, known := f.kinds.get(n)
	switch {
	case known:
	case p.IsDerivation():
		k = kindRegular
	case f.proc.wantsSymlink(h.Pid):
		k = kindSymlink
	default:
		k = kindDirectory
	}
	if k != kindSymlink {
		return newNodeID(n, k, 0)
	}
	for {
		if a := f.aliases.Add(1) % maxEntries; a >= 2 { // 0 and 1 could read as no node and as the root
			return newNodeID(n, kindAlias, a)
		}
	}
}
