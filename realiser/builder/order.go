package builder

import (
	"fmt"

	"larder/store"
)

// inOrder returns the outputs such that each comes after those that it refers to.
// It refuses outputs that refer to each other in a circle: no order in which they
// could become valid exists. An output may refer to itself.
func (b *build) inOrder(outputs []*Output) ([]*Output, error) {
	byPath := map[store.StorePath]*Output{}
	for _, o := range outputs {
		byPath[o.Info.Path] = o
	}
	const (
		visiting = 1
		done     = 2
	)
	state := map[*Output]int{}
	var ordered []*Output
	var visit func(o *Output) error
	visit = func(o *Output) error {
		state[o] = visiting
		for _, ref := range o.Info.References {
			other := byPath[ref]
			if other == nil || other == o {
				continue
			}
			if state[other] == visiting {
				return fmt.Errorf("cycle detected in build of '%s' in the references of output '%s' from output '%s'", b.name, other.Name, o.Name)
			}
			if state[other] == 0 {
				if err := visit(other); err != nil {
					return err
				}
			}
		}
		state[o] = done
		ordered = append(ordered, o)
		return nil
	}
	for _, o := range outputs {
		if state[o] == 0 {
			if err := visit(o); err != nil {
				return nil, err
			}
		}
	}
	return ordered, nil
}
