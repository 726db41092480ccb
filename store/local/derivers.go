package local

import (
	"context"
	"slices"

	"larder/store"
)

// ValidDerivers returns the valid derivations that have p as an output, sorted. P itself need not be valid.
func (s *Store) ValidDerivers(ctx context.Context, p store.StorePath) (result []store.StorePath, err error) {
	err = s.view(ctx, func(r reader) error {
		return r.scan(digestKey(tableDerivers, p.Digest()), func(key, value []byte) (bool, error) {
			outputs, err := decodeOutputs(value)
			if err == nil && (len(key) != 1+digestSize+4 || len(outputs) != 1) {
				err = errRecordEnd
			}
			if err != nil {
				return false, corrupt(key, err)
			}
			if outputs[0].path != p {
				return true, nil // another name with the same digest
			}
			drv, err := s.name(r, lastNumber(key))
			result = append(result, drv)
			slices.SortFunc(result, store.StorePath.Compare)
			return true, err
		})
	})
	return result, err
}

// Outputs returns the outputs of a valid derivation by name. An output whose path follows only from building has the path
// of its registered realisation; without one it is left out.
func (s *Store) Outputs(ctx context.Context, drv store.StorePath) (map[string]store.StorePath, error) {
	e, err := s.validEntry(s.db, "outputs of", drv)
	if err != nil {
		return nil, err
	}
	list, err := s.outputs(s.db, e.number)
	if err != nil {
		return nil, err
	}
	result := make(map[string]store.StorePath, len(list))
	var ids map[string]store.DrvOutput
	for _, o := range list {
		if !o.path.IsZero() {
			result[o.name] = o.path
			continue
		}
		if ids == nil {
			parsed, err := s.Derivation(ctx, drv)
			if err != nil {
				return nil, err
			}
			if ids, err = s.drvs.hasher.DrvOutputs(ctx, parsed); err != nil {
				return nil, err
			}
		}
		r, err := s.realisation(s.db, ids[o.name])
		if err != nil {
			return nil, err
		}
		if r != nil {
			result[o.name] = r.OutPath
		}
	}
	return result, nil
}

// outputs is what the .drv with that number says it makes; nil if it is no .drv.
func (s *Store) outputs(r reader, n uint32) ([]output, error) {
	key := numberKey(tableOutputs, n)
	b, err := r.get(key)
	if err != nil || b == nil {
		return nil, err
	}
	list, err := decodeOutputs(b)
	if err != nil {
		return nil, corrupt(key, err)
	}
	return list, nil
}
