package local

import (
	"bytes"
	"errors"
	"os"

	"github.com/cockroachdb/pebble/v2"

	"larder/store"
)

// What the links of users pointed to is remembered in the database (table g), for the time when one can't be read.

func rootKey(link string) []byte { return append([]byte{tableRoot}, link...) }

// rememberedRoot is what a link pointed to when it was last read, zero if it never was.
func (s *Store) rememberedRoot(link string) (store.StorePath, error) {
	b, err := s.db.get(rootKey(link))
	if err != nil || b == nil {
		return store.StorePath{}, err
	}
	p, err := decodePath(b)
	if err != nil {
		return p, corrupt(rootKey(link), err)
	}
	return p, nil
}

func (s *Store) rememberRoots(roots []Root) error {
	return s.db.change(false, func(b *pebble.Batch) error {
		w := &batchWriter{b: b}
		for _, r := range roots {
			record := encodePath(r.Path)
			old, err := s.db.get(rootKey(r.Link))
			if err != nil {
				return err
			}
			if !bytes.Equal(old, record) {
				w.set(rootKey(r.Link), record)
			}
		}
		return w.err
	})
}

// dropStale removes indirect roots whose link is gone, after another look.
func (s *Store) dropStale(stale []string) error {
	var dropped []string
	for _, name := range stale {
		target, err := os.Readlink(name)
		if err != nil {
			continue
		}
		if _, err := os.Lstat(target); !errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		s.log.Info("dropped a stale root", "link", target)
		dropped = append(dropped, target)
	}
	return s.db.change(false, func(b *pebble.Batch) error {
		w := &batchWriter{b: b}
		for _, target := range dropped {
			w.delete(rootKey(target))
		}
		return w.err
	})
}
