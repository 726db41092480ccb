package local

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"larder/store"
)

// RegisterRealisation records durably which path an output of a derivation turned out to be. The path must be valid
// (store.ErrNotValid); the record goes when it is deleted. If there is a record for the same output, its path must be the
// same; new signatures are added to it.
func (s *Store) RegisterRealisation(ctx context.Context, r *store.Realisation) error {
	if err := s.writable(); err != nil {
		return err
	}
	release, err := s.commits.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	e, err := s.validEntry(s.db, "register realisation", r.OutPath)
	if err != nil {
		return err
	}
	merged := *r
	known, err := s.realisation(s.db, r.ID)
	if err != nil {
		return err
	}
	if known != nil {
		if known.OutPath != r.OutPath {
			return fmt.Errorf("register realisation of %s as %s: it is %s already", r.ID, r.OutPath, known.OutPath)
		}
		merged.Signatures = mergeSignatures(known.Signatures, r.Signatures)
	}
	text, err := json.Marshal(merged)
	if err != nil {
		return fmt.Errorf("register realisation of %s: %w", r.ID, err)
	}
	return s.db.change(true, func(b *pebble.Batch) error {
		w := &batchWriter{b: b}
		w.set(realisationKey(r.ID), append(newRecord().b, text...))
		w.set(realisesKey(e.number, r.ID), nil)
		return w.err
	})
}

// Realisation returns what is recorded for an output of a derivation. The error wraps store.ErrNotFound if nothing is.
func (s *Store) Realisation(ctx context.Context, id store.DrvOutput) (*store.Realisation, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := s.realisation(s.db, id)
	if err == nil && r == nil {
		err = fmt.Errorf("realisation of %s: %w", id, store.ErrNotFound)
	}
	return r, err
}

// Realisations returns what is recorded of outputs that turned out to be p, by their identities in order. None is no error.
func (s *Store) Realisations(ctx context.Context, p store.StorePath) (list []*store.Realisation, err error) {
	err = s.view(ctx, func(r reader) error {
		e, err := s.validEntry(r, "realisations of", p)
		if err != nil {
			return err
		}
		prefix := numberKey(tableRealises, e.number)
		return r.scan(prefix, func(key, _ []byte) (bool, error) {
			id, err := store.ParseDrvOutput(string(key[len(prefix):]))
			if err != nil {
				return false, corrupt(key, err)
			}
			known, err := s.realisation(r, id)
			if err != nil || known == nil {
				return err == nil, err
			}
			list = append(list, known)
			return true, nil
		})
	})
	return list, err
}

func (s *Store) realisation(r reader, id store.DrvOutput) (*store.Realisation, error) {
	key := realisationKey(id)
	b, err := r.get(key)
	if err != nil || b == nil {
		return nil, err
	}
	d := readRecord(b)
	result := &store.Realisation{}
	if d.err == nil {
		d.err = json.Unmarshal(d.b, result)
	}
	if d.err != nil {
		return nil, corrupt(key, d.err)
	}
	return result, nil
}

// AddSignatures adds signatures to a valid path, in the place of those by the same keys, and waits until that is durable.
func (s *Store) AddSignatures(ctx context.Context, p store.StorePath, sigs []store.Signature) error {
	if err := s.writable(); err != nil {
		return err
	}
	release, err := s.commits.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	e, err := s.validEntry(s.db, "add signatures to", p)
	if err != nil {
		return err
	}
	i, err := s.info(s.db, e.number)
	if err != nil {
		return err
	}
	i.signatures = mergeSignatures(i.signatures, sigs)
	return s.db.change(true, func(b *pebble.Batch) error {
		return b.Set(numberKey(tableInfo, e.number), i.encode(), nil)
	})
}

func mergeSignatures(old, new []store.Signature) []store.Signature {
	merged := make([]store.Signature, 0, len(old)+len(new))
	position := map[string]int{}
	for _, list := range [][]store.Signature{old, new} {
		for _, sig := range list {
			if i, ok := position[sig.Name]; ok {
				merged[i] = sig
				continue
			}
			position[sig.Name] = len(merged)
			merged = append(merged, sig)
		}
	}
	return merged
}
