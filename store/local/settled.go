package local

import (
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sys/unix"

	"larder/nar/tree"
)

// settled collects the keys of notes that have served: they go from the database when the change of the object directory
// that they were for is durable, that is with the first commit whose sync began after it.
type settled struct {
	mu   sync.Mutex // guards keys
	keys [][]byte
}

func (s *settled) add(keys ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, keys...)
}

func (s *settled) take() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := s.keys
	s.keys = nil
	return keys
}

// settle makes the changes of the object directory durable and removes the notes that guarded them.
func (s *Store) settle() error {
	keys := s.settled.take()
	if len(keys) == 0 {
		return nil
	}
	err := s.point(pointSwept)
	if err == nil {
		err = tree.Retry(func() error { return unix.Fsync(s.objects) })
	}
	if err != nil {
		s.settled.add(keys...)
		return fmt.Errorf("syncing %s: %w", s.objectDir, err)
	}
	return s.db.change(false, func(b *pebble.Batch) error {
		w := &batchWriter{b: b}
		for _, k := range keys {
			w.delete(k)
		}
		return w.err
	})
}
