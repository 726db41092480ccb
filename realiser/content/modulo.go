package content

import (
	"bytes"
	"hash"
	"strconv"
)

// Modulo is a hash over data that contains the very name that follows from
// the hash: each occurrence of self counts as zero bytes, and the positions of
// the occurrences are hashed at the end, "|" before each (Nix manual, "Content-
// addressing store objects": self-references).
type Modulo struct {
	hash.Hash
	self    []byte
	pending []byte  // not hashed yet: it may hold the beginning of self
	offset  int64   // of pending
	matches []int64 // where self occurred
}

// NewModulo returns a hash like h in which occurrences of self do not count.
func NewModulo(h hash.Hash, self string) *Modulo {
	return &Modulo{Hash: h, self: []byte(self)}
}

func (m *Modulo) Write(p []byte) (int, error) {
	m.pending = append(m.pending, p...)
	for from := 0; ; {
		i := bytes.Index(m.pending[from:], m.self)
		if i < 0 {
			break
		}
		from += i
		m.matches = append(m.matches, m.offset+int64(from))
		clear(m.pending[from : from+len(m.self)])
		from += len(m.self)
	}
	if ready := len(m.pending) - len(m.self) + 1; ready > 0 {
		m.Hash.Write(m.pending[:ready])
		m.offset += int64(ready)
		m.pending = m.pending[:copy(m.pending, m.pending[ready:])]
	}
	return len(p), nil
}

// Sum ends the hash: nothing may be written after it.
func (m *Modulo) Sum(b []byte) []byte {
	m.Hash.Write(m.pending)
	m.pending = nil
	for _, at := range m.matches {
		m.Hash.Write(strconv.AppendInt([]byte{'|'}, at, 10))
	}
	m.matches = nil
	return m.Hash.Sum(b)
}
