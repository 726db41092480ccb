package local

import "sync"

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
