package cache

import (
	"io"
	"math"
	"sync"
	"sync/atomic"
)

// tracked remembers the error of a reader below a decoder, which may not pass it on as it is, and counts bytes. Count and
// error may be asked for by any goroutine.
type tracked struct {
	r     io.Reader
	count atomic.Int64

	mu  sync.Mutex // guards err
	err error      // other than io.EOF
}

func (t *tracked) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.count.Add(int64(n))
	if err != nil && err != io.EOF {
		t.mu.Lock()
		t.err = err
		t.mu.Unlock()
	}
	return n, err
}

func (t *tracked) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// exactly passes on a stream of a known length; any other length is corrupt.
type exactly struct {
	r    io.Reader
	size int64
	left int64
	err  error
}

func newExactly(r io.Reader, size uint64) (*exactly, error) {
	if size > math.MaxInt64 {
		return nil, corruptf("a NAR of %d bytes", size)
	}
	return &exactly{r: r, size: int64(size), left: int64(size)}, nil
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.err != nil || len(p) == 0 {
		return 0, e.err
	}
	if e.left == 0 {
		e.err = e.atEnd()
		return 0, e.err
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	switch {
	case err == io.EOF && e.left > 0:
		e.err = corruptf("the NAR ends after %d of %d bytes: %w", e.size-e.left, e.size, io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		e.err = err
	}
	if n > 0 {
		return n, nil
	}
	return 0, e.err
}

// atEnd makes sure that nothing follows; it also lets a decoder check its checksum.
func (e *exactly) atEnd() error {
	var one [1]byte
	for range 100 {
		n, err := e.r.Read(one[:])
		if n > 0 {
			return corruptf("the NAR is longer than the %d bytes that the narinfo says", e.size)
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}
