package local

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"larder/store"
)

// Used records that paths were used at a time. Paths that are not valid are passed over. It is only a hint for what to evict:
// a crash may lose the last ones.
func (s *Store) Used(ctx context.Context, at time.Time, paths ...store.StorePath) error {
	if err := s.writable(); err != nil {
		return err
	}
	// With the token, so that a path is not deleted between the look and the note.
	release, err := s.commits.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	return s.db.change(false, func(b *pebble.Batch) error {
		w := &batchWriter{b: b}
		for _, p := range paths {
			e, ok, err := s.entry(s.db, p)
			if err != nil {
				return err
			}
			if ok {
				record := newRecord()
				record.int(at.Unix())
				w.set(numberKey(tableLastUse, e.number), record.b)
			}
		}
		return w.err
	})
}

// LastUse is when a valid path was last reported to Used, to the second; the registration time if it never was.
func (s *Store) LastUse(ctx context.Context, p store.StorePath) (at time.Time, err error) {
	err = s.view(ctx, func(r reader) error {
		e, err := s.validEntry(r, "last use of", p)
		if err != nil {
			return err
		}
		key := numberKey(tableLastUse, e.number)
		b, err := r.get(key)
		if err != nil {
			return err
		}
		if b == nil {
			i, err := s.info(r, e.number)
			if err == nil {
				at = i.registered
			}
			return err
		}
		d := readRecord(b)
		at = time.Unix(d.int(), 0)
		if err := d.end(); err != nil {
			return corrupt(key, err)
		}
		return nil
	})
	return at, err
}
