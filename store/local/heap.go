package local

import (
	"context"
	"slices"

	"larder/store"
)

// heap is what a garbage collector looks at: all objects with their references, in memory. A million objects with ten
// references each take some 50 MB.
type heap struct {
	graph
	s     *Store
	ranks ranks
	extra map[uint32][]uint32 // what else an object keeps alive: outputs, derivers
	live  bitmap
	cause []uint32 // for each live object the one that it was reached from, itself for a root
	roots map[uint32]Root
}

// readHeap reads the references of every path in one sequential scan.
func (s *Store) readHeap(ctx context.Context, r reader, o GCOptions) (*heap, error) {
	h := &heap{s: s, roots: map[uint32]Root{}}
	err := r.scan([]byte{tableReferences}, func(key, value []byte) (_ bool, err error) {
		if len(key) != 5 {
			return false, corrupt(key, errRecordEnd)
		}
		h.numbers = append(h.numbers, lastNumber(key))
		h.start = append(h.start, uint32(len(h.edges)))
		if h.edges, err = appendNumbers(h.edges, value); err != nil {
			return false, corrupt(key, err)
		}
		return true, ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	h.start = append(h.start, uint32(len(h.edges)))
	h.ranks = newRanks(h.numbers)
	for at, n := range h.edges {
		i, ok := h.ranks.find(n)
		if !ok {
			return nil, corrupt(numberKey(tableReferences, n), errDangling)
		}
		h.edges[at] = i
	}
	h.live = newBitmap(len(h.numbers))
	h.cause = make([]uint32, len(h.numbers))
	if o.KeepOutputs || o.KeepDerivations {
		err = h.readDerivers(ctx, r, o)
	}
	return h, err
}

// readDerivers adds what keep-outputs and keep-derivations demand.
func (h *heap) readDerivers(ctx context.Context, r reader, o GCOptions) error {
	h.extra = map[uint32][]uint32{}
	return r.scan([]byte{tableOutputs}, func(key, value []byte) (bool, error) {
		outputs, err := decodeOutputs(value)
		if err != nil {
			return false, corrupt(key, err)
		}
		drv, ok := h.ranks.find(lastNumber(key))
		if !ok {
			return false, corrupt(key, errDangling)
		}
		for _, output := range outputs {
			if output.path.IsZero() {
				continue
			}
			e, ok, err := h.s.entry(r, output.path)
			if err != nil {
				return false, err
			}
			out, known := h.ranks.find(e.number)
			if !ok || !known {
				continue
			}
			if o.KeepOutputs {
				h.extra[drv] = append(h.extra[drv], out)
			}
			if o.KeepDerivations {
				info, err := h.s.info(r, e.number)
				if err != nil {
					return false, err
				}
				p, err := h.s.name(r, lastNumber(key))
				if err != nil {
					return false, err
				}
				if info.deriver == p {
					h.extra[out] = append(h.extra[out], drv)
				}
			}
		}
		return true, ctx.Err()
	})
}

// mark finds what the roots keep alive. Roots that are not valid keep nothing.
func (h *heap) mark(r reader, roots []Root) error {
	var todo []uint32
	reach := func(i, from uint32) {
		if !h.live.has(i) {
			h.live.add(i)
			h.cause[i] = from
			todo = append(todo, i)
		}
	}
	for _, root := range roots {
		e, ok, err := h.s.entry(r, root.Path)
		if err != nil {
			return err
		}
		i, known := h.ranks.find(e.number)
		if !ok || !known || h.live.has(i) {
			continue
		}
		h.roots[i] = root
		reach(i, i)
		for len(todo) > 0 {
			j := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			for _, k := range h.references(j) {
				reach(k, j)
			}
			for _, k := range h.extra[j] {
				reach(k, j)
			}
		}
	}
	return nil
}

func (h *heap) deadCount() (n int) {
	for i := range h.numbers {
		if !h.live.has(uint32(i)) {
			n++
		}
	}
	return n
}

// dead returns the dead objects, referrers before references: all, or only some paths and what refers to them.
func (h *heap) dead(only []store.StorePath) ([]uint32, error) {
	all := make([]uint32, 0, len(h.numbers))
	for i := range h.numbers {
		all = append(all, uint32(i))
	}
	order := h.order(all, h.live.has)
	slices.Reverse(order)
	if len(only) == 0 {
		return order, nil
	}
	wanted := newBitmap(len(h.numbers))
	for _, p := range only {
		e, err := h.s.validEntry(h.s.db, "delete", p)
		if err != nil {
			return nil, err
		}
		i, ok := h.ranks.find(e.number)
		if !ok {
			// Registered since the collection began: so somebody is using it.
			return nil, &AliveError{Dir: h.s.dir, Path: p, Root: Root{Path: p, Link: TempRoot}, Chain: []store.StorePath{p}}
		}
		if h.live.has(i) {
			return nil, h.aliveError(p, i)
		}
		wanted.add(i)
	}
	// From the references up: what refers to something wanted is wanted.
	for _, i := range slices.Backward(order) {
		if slices.ContainsFunc(h.references(i), wanted.has) {
			wanted.add(i)
		}
	}
	return slices.DeleteFunc(order, func(i uint32) bool { return !wanted.has(i) }), nil
}

func (h *heap) aliveError(p store.StorePath, i uint32) error {
	chain := []uint32{i}
	for h.cause[i] != i {
		i = h.cause[i]
		chain = append(chain, i)
	}
	slices.Reverse(chain)
	e := &AliveError{Dir: h.s.dir, Path: p, Root: h.roots[i]}
	for _, j := range chain {
		q, err := h.s.name(h.s.db, h.numbers[j])
		if err != nil {
			return err
		}
		e.Chain = append(e.Chain, q)
	}
	return e
}
