package builder

import (
	"larder/store"
)

const (
	hashChars = 32 // characters of a store path's hash part
	// The last characters of a hash part, five bits each, select a bit of the filter.
	filterChars = 3
	filterBits  = 5 * filterChars
)

// nix32Value holds the value of each character of Nix's base 32, and notNix32
// for all other bytes.
var nix32Value = func() (t [256]byte) {
	for i := range t {
		t[i] = notNix32
	}
	for i, c := range []byte("0123456789abcdfghijklmnpqrsvwxyz") {
		t[c] = byte(i)
	}
	return t
}()

const notNix32 = 0xff

// refScanner finds which of any number of store paths occur in a stream: by
// their hash parts, anywhere, as Nix does. It is a Writer that never fails. The
// stream may be cut into writes at any place.
//
// A hash part is 32 characters of a small alphabet. So only the last byte of
// each window of 32 is looked at: if it is of the alphabet its neighbours are
// looked at, else the window moves on by 32. A run of 32 or more is rare outside
// of text in small letters, and then a small bitmap over the last three
// characters keeps most positions from being looked up.
type refScanner struct {
	candidates map[[hashChars]byte]store.StorePath // not found yet
	filter     [1 << filterBits / 64]uint64
	found      []store.StorePath
	tail       [2 * (hashChars - 1)]byte // the end of what was written, room for the beginning of what comes
	tailLen    int                       // less than hashChars
}

// newRefScanner looks for the hash parts of candidates. Of several with the same
// hash part, the first one counts.
func newRefScanner(candidates []store.StorePath) *refScanner {
	s := &refScanner{candidates: make(map[[hashChars]byte]store.StorePath, len(candidates))}
	for _, p := range candidates {
		part := [hashChars]byte([]byte(p.HashPart()))
		if _, known := s.candidates[part]; known {
			continue
		}
		s.candidates[part] = p
		bit := filterIndex(part[hashChars-filterChars:])
		s.filter[bit/64] |= 1 << (bit % 64)
	}
	return s
}

// filterIndex is the number of the filter's bit for what ends in b, filterChars
// bytes of the alphabet.
func filterIndex(b []byte) uint {
	return uint(nix32Value[b[0]])<<10 | uint(nix32Value[b[1]])<<5 | uint(nix32Value[b[2]])
}

// Found returns the candidates that occurred, sorted.
func (s *refScanner) Found() []store.StorePath { return store.SortPaths(s.found) }

// Write scans p. It returns len(p) and no error.
func (s *refScanner) Write(p []byte) (int, error) {
	if len(s.candidates) == 0 {
		return len(p), nil
	}
	// What lies across the border of two writes is in here.
	border := append(s.tail[:s.tailLen], p[:min(len(p), hashChars-1)]...)
	s.scan(border)
	if len(p) >= hashChars-1 {
		s.scan(p)
		s.tailLen = copy(s.tail[:], p[len(p)-(hashChars-1):])
		return len(p), nil
	}
	keep := min(len(border), hashChars-1)
	s.tailLen = copy(s.tail[:], border[len(border)-keep:])
	return len(p), nil
}

// scan finds all occurrences that lie wholly in b.
func (s *refScanner) scan(b []byte) {
	run := 0 // that many bytes of the window's beginning are known to be of the alphabet
	for end := hashChars; end <= len(b); {
		known := end - hashChars + run
		i := end - 1
		for i >= known && nix32Value[b[i]] != notNix32 {
			i--
		}
		if i >= known {
			end, run = i+1+hashChars, end-1-i
			continue
		}
		end, run = s.scanRun(b, end), 0
	}
}

// scanRun looks at the window that ends at end, which is all of the alphabet,
// and at those that follow while the run of such bytes lasts. It returns the end
// of the next window that can be one.
func (s *refScanner) scanRun(b []byte, end int) int {
	last := filterIndex(b[end-filterChars : end])
	for {
		if s.filter[last/64]&(1<<(last%64)) != 0 {
			s.lookUp([hashChars]byte(b[end-hashChars : end]))
		}
		if end == len(b) {
			return end + 1
		}
		v := nix32Value[b[end]]
		end++
		if v == notNix32 {
			return end + hashChars
		}
		last = (last<<5 | uint(v)) % (1 << filterBits)
	}
}

func (s *refScanner) lookUp(part [hashChars]byte) {
	if p, ok := s.candidates[part]; ok {
		s.found = append(s.found, p)
		delete(s.candidates, part)
	}
}
