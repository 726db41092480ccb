package builder

import (
	"bytes"
	"io"
	"maps"
	"slices"
)

// rewriter passes a stream on, with hash parts replaced by other hash parts: in
// file contents, file names and targets of symlinks alike, as the stream is a NAR.
// The stream may be cut into writes at any place.
type rewriter struct {
	w        io.Writer
	rewrites []rewrite
	pending  []byte // not passed on yet: it may end in the beginning of a hash part
}

type rewrite struct{ from, to []byte }

// newRewriter replaces the keys of rewrites by their values.
func newRewriter(w io.Writer, rewrites map[string]string) *rewriter {
	r := &rewriter{w: w}
	// In an order of its own, should occurrences overlap.
	for _, from := range slices.Sorted(maps.Keys(rewrites)) {
		r.rewrites = append(r.rewrites, rewrite{[]byte(from), []byte(rewrites[from])})
	}
	return r
}

func (r *rewriter) Write(p []byte) (int, error) {
	if len(r.rewrites) == 0 {
		return r.w.Write(p)
	}
	r.pending = append(r.pending, p...)
	for _, x := range r.rewrites {
		x.apply(r.pending)
	}
	ready := len(r.pending) - hashChars + 1
	if ready <= 0 {
		return len(p), nil
	}
	if _, err := r.w.Write(r.pending[:ready]); err != nil {
		return 0, err
	}
	r.pending = r.pending[:copy(r.pending, r.pending[ready:])]
	return len(p), nil
}

// apply replaces all occurrences in b.
func (x rewrite) apply(b []byte) {
	for {
		i := bytes.Index(b, x.from)
		if i < 0 {
			return
		}
		b = b[i+copy(b[i:], x.to):]
	}
}

// Close passes on what is left. It does not close what is written to.
func (r *rewriter) Close() error {
	if len(r.pending) == 0 {
		return nil
	}
	_, err := r.w.Write(r.pending)
	r.pending = nil
	return err
}
