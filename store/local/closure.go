package local

import (
	"context"
	"slices"

	"larder/store"
)

// Closure returns valid paths and everything that they refer to, directly or not, each once, references before referrers.
func (s *Store) Closure(ctx context.Context, paths []store.StorePath) (result []store.StorePath, err error) {
	err = s.view(ctx, func(r reader) error {
		var roots []uint32
		for _, p := range paths {
			e, err := s.validEntry(r, "closure of", p)
			if err != nil {
				return err
			}
			roots = append(roots, e.number)
		}
		g, err := s.reach(ctx, r, roots)
		if err != nil {
			return err
		}
		from := make([]uint32, len(g.numbers))
		for i := range from {
			from[i] = uint32(i)
		}
		order := g.order(from, func(uint32) bool { return false })
		result, err = s.namesInOrder(r, g, order)
		return err
	})
	return result, err
}

// reach builds the graph of what can be reached from some numbers.
func (s *Store) reach(ctx context.Context, r reader, from []uint32) (*graph, error) {
	g := &graph{}
	index := map[uint32]uint32{}
	add := func(n uint32) uint32 {
		i, ok := index[n]
		if !ok {
			i = uint32(len(g.numbers))
			index[n] = i
			g.numbers = append(g.numbers, n)
		}
		return i
	}
	for _, n := range from {
		add(n)
	}
	var refs []uint32
	for i := 0; i < len(g.numbers); i++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var err error
		if refs, err = s.references(r, refs[:0], g.numbers[i]); err != nil {
			return nil, err
		}
		g.start = append(g.start, uint32(len(g.edges)))
		for _, n := range refs {
			g.edges = append(g.edges, add(n))
		}
	}
	g.start = append(g.start, uint32(len(g.edges)))
	return g, nil
}

// namesInOrder returns the paths of the nodes in order. It reads them in the order of their numbers, which is how they lie in
// the database.
func (s *Store) namesInOrder(r reader, g *graph, order []uint32) ([]store.StorePath, error) {
	positions := make([]uint32, len(order))
	for i := range positions {
		positions[i] = uint32(i)
	}
	slices.SortFunc(positions, func(a, b uint32) int { return int(g.numbers[order[a]]) - int(g.numbers[order[b]]) })
	paths := make([]store.StorePath, len(order))
	for _, i := range positions {
		p, err := s.name(r, g.numbers[order[i]])
		if err != nil {
			return nil, err
		}
		paths[i] = p
	}
	return paths, nil
}
