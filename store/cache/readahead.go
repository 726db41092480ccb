package cache

import (
	"io"
	"sync"
)

// chunkSize is how much is handed from one stage of a stream to the next at a time.
const chunkSize = 64 << 10

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// readAhead reads from a source in a goroutine of its own, up to a number of chunks ahead of who reads from it.
type readAhead struct {
	full chan chunk    // closed by the goroutine when it ends
	stop chan struct{} // closed by Close
	once sync.Once

	chunk chunk // being read
	pos   int
}

type chunk struct {
	data *[chunkSize]byte
	n    int
	err  error // after the n bytes
}

func newReadAhead(src io.Reader, ahead int) *readAhead {
	r := &readAhead{full: make(chan chunk, ahead), stop: make(chan struct{})}
	go r.run(src)
	return r
}

func (r *readAhead) run(src io.Reader) {
	defer close(r.full)
	for {
		c := chunk{data: chunks.Get().(*[chunkSize]byte)}
		c.n, c.err = src.Read(c.data[:])
		select {
		case r.full <- c:
		case <-r.stop:
			chunks.Put(c.data)
			return
		}
		if c.err != nil {
			return
		}
	}
}

func (r *readAhead) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.pos == r.chunk.n {
		if r.chunk.err != nil {
			return 0, r.chunk.err
		}
		r.recycle()
		next, ok := <-r.full
		if !ok {
			next.err = io.ErrClosedPipe
		}
		r.chunk, r.pos = next, 0
	}
	n := copy(p, r.chunk.data[r.pos:r.chunk.n])
	r.pos += n
	return n, nil
}

func (r *readAhead) recycle() {
	if r.chunk.data != nil {
		chunks.Put(r.chunk.data)
	}
	r.chunk, r.pos = chunk{}, 0
}

// Close waits for the goroutine. A Read of the source that may block has to be ended by other means first. It must not be
// called during a Read.
func (r *readAhead) Close() error {
	r.once.Do(func() {
		close(r.stop)
		for c := range r.full {
			chunks.Put(c.data)
		}
		r.recycle()
		r.chunk.err = io.ErrClosedPipe
	})
	return nil
}
