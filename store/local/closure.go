package local

import (
	"cmp"
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
	// Level by level, each in the order of the numbers, which is how the records lie in the database.
	for done := 0; done < len(g.numbers); {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		level := g.numbers[done:]
		done = len(g.numbers)
		order := ascending(level)
		sorted := make([]uint32, len(order))
		for k, i := range order {
			sorted[k] = level[i]
		}
		lists := make([][]uint32, len(level))
		err := r.each(tableReferences, sorted, func(k int, value []byte) (err error) {
			if lists[order[k]], err = appendNumbers(nil, value); err != nil {
				err = corrupt(numberKey(tableReferences, sorted[k]), err)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, list := range lists {
			g.start = append(g.start, uint32(len(g.edges)))
			for _, n := range list {
				g.edges = append(g.edges, add(n))
			}
		}
	}
	g.start = append(g.start, uint32(len(g.edges)))
	return g, nil
}

// ascending returns the positions of numbers in the order of their size.
func ascending(numbers []uint32) []int {
	order := make([]int, len(numbers))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(numbers[a], numbers[b]) })
	return order
}

// namesInOrder returns the paths of the nodes in order.
func (s *Store) namesInOrder(r reader, g *graph, order []uint32) ([]store.StorePath, error) {
	numbers := make([]uint32, len(order))
	for k, i := range order {
		numbers[k] = g.numbers[i]
	}
	return s.names(r, numbers)
}
