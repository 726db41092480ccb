package local

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"larder/store"
)

// Failed builds are remembered until somebody forgets them: by path, which need not be valid, nor known otherwise.

// maxFailureText bounds the message of a failure, in bytes.
const maxFailureText = 4096

func failureKey(p store.StorePath) []byte {
	k := pathKey(p)
	k[0] = tableFailure
	return k
}

// RememberFailures remembers failures durably, in the place of earlier ones of the same paths.
func (s *Store) RememberFailures(ctx context.Context, failures ...store.Failure) error {
	if err := s.writable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.change(true, func(b *pebble.Batch) error {
		w := &batchWriter{b: b}
		for _, f := range failures {
			w.set(failureKey(f.Path), encodeFailure(f))
		}
		return w.err
	})
}

// Failure returns what is remembered of the first of the paths of which something is, or nil.
func (s *Store) Failure(ctx context.Context, paths ...store.StorePath) (*store.Failure, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, p := range paths {
		key := failureKey(p)
		b, err := s.db.get(key)
		if err != nil {
			return nil, err
		}
		if b == nil {
			continue
		}
		f, err := decodeFailure(b)
		if err != nil {
			return nil, corrupt(key, err)
		}
		f.Path = p
		return &f, nil
	}
	return nil, nil
}

// Failures returns all that are remembered, by path.
func (s *Store) Failures(ctx context.Context) (all []store.Failure, err error) {
	err = s.view(ctx, func(r reader) error {
		return r.scan([]byte{tableFailure}, func(key, value []byte) (bool, error) {
			f, err := decodeFailure(value)
			if err != nil {
				return false, corrupt(key, err)
			}
			if f.Path, err = pathOfKey(key); err != nil {
				return false, err
			}
			all = append(all, f)
			return true, ctx.Err()
		})
	})
	return all, err
}

// ForgetFailures forgets what is remembered of paths, or everything if none is given, and returns how many failures that were.
func (s *Store) ForgetFailures(ctx context.Context, paths ...store.StorePath) (n int, err error) {
	if err := s.writable(); err != nil {
		return 0, err
	}
	if len(paths) == 0 {
		all, err := s.Failures(ctx)
		if err != nil {
			return 0, err
		}
		for _, f := range all {
			paths = append(paths, f.Path)
		}
	}
	err = s.db.change(true, func(b *pebble.Batch) error {
		w := &batchWriter{b: b}
		for _, p := range store.SortPaths(paths) {
			known, err := s.db.get(failureKey(p))
			if err != nil {
				return err
			}
			if known != nil {
				n++
				w.delete(failureKey(p))
			}
		}
		return w.err
	})
	return n, err
}

func encodeFailure(f store.Failure) []byte {
	e := newRecord()
	e.path(f.Drv)
	e.int(f.Time.Unix())
	e.text(f.Status)
	e.text(f.Error[:min(len(f.Error), maxFailureText)])
	return e.b
}

func decodeFailure(b []byte) (f store.Failure, err error) {
	d := readRecord(b)
	f.Drv = d.path()
	f.Time = time.Unix(d.int(), 0).UTC()
	f.Status = d.text()
	f.Error = d.text()
	return f, d.end()
}
