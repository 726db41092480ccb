package local

import (
	"context"

	"github.com/cockroachdb/pebble/v2"

	"larder/store"
)

// Confirm notes of a valid path that it was built here, and came out as it is registered: the path becomes ultimate, and gets
// the signatures that it lacks.
func (s *Store) Confirm(ctx context.Context, p store.StorePath, signatures ...store.Signature) error {
	if err := s.writable(); err != nil {
		return err
	}
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	release, err := s.commits.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	e, err := s.validEntry(s.db, "confirm", p)
	if err != nil {
		return err
	}
	i, err := s.info(s.db, e.number)
	if err != nil {
		return err
	}
	if added := i.addSignatures(signatures); !added && i.ultimate {
		return nil
	}
	i.ultimate = true
	return s.db.change(true, func(b *pebble.Batch) error { return b.Set(numberKey(tableInfo, e.number), i.encode(), nil) })
}
