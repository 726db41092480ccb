package realiser

import (
	"fmt"

	"larder/store"
)

// checkCycle refuses outputs that refer to each other in a circle: no order in
// which they could become valid exists. An output may refer to itself.
func (b *build) checkCycle(outputs []*made) error {
	byPath := map[store.StorePath]*made{}
	for _, o := range outputs {
		byPath[o.info.Path] = o
	}
	const (
		visiting = 1
		done     = 2
	)
	state := map[*made]int{}
	var visit func(o *made) error
	visit = func(o *made) error {
		state[o] = visiting
		for _, ref := range o.info.References {
			other := byPath[ref]
			if other == nil || other == o {
				continue
			}
			if state[other] == visiting {
				return fmt.Errorf("cycle detected in build of '%s' in the references of output '%s' from output '%s'", b.name, other.name, o.name)
			}
			if state[other] == 0 {
				if err := visit(other); err != nil {
					return err
				}
			}
		}
		state[o] = done
		return nil
	}
	for _, o := range outputs {
		if state[o] == 0 {
			if err := visit(o); err != nil {
				return err
			}
		}
	}
	return nil
}
