package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"larder/store"
)

// Limits bound what a message of a peer may cost. The zero value of a field means
// the default.
type Limits struct {
	String  uint64 // bytes of one string; 64 MiB
	List    uint64 // elements of one list or map; 4 Mi
	Message uint64 // bytes of memory that one whole message may take; 256 MiB
}

func (l Limits) orDefault() Limits {
	if l.String == 0 {
		l.String = 64 << 20
	}
	if l.List == 0 {
		l.List = 4 << 20
	}
	if l.Message == 0 {
		l.Message = 256 << 20
	}
	return l
}

const (
	bufferSize = 32 << 10
	wordSize   = 8
)

// Reader reads what a peer sends. Set Dir and Protocol before the first message;
// a handshake sets Protocol. After an error every method returns that error again.
// Not for concurrent use.
type Reader struct {
	Dir      store.Dir
	Protocol Protocol

	src    *bufio.Reader
	limits Limits
	budget uint64 // what the message that is being read may still take
	offset uint64
	err    error
}

// NewReader reads from src, which nobody else may read from any more: the Reader
// buffers.
func NewReader(src io.Reader, dir store.Dir, limits Limits) *Reader {
	r := &Reader{Dir: dir, src: bufio.NewReaderSize(src, bufferSize), limits: limits.orDefault()}
	r.budget = r.limits.Message
	return r
}

// Offset is how many bytes were read since the beginning.
func (r *Reader) Offset() uint64 { return r.offset }

// Buffered is how many bytes have arrived already: whether a client sent its next
// request without waiting.
func (r *Reader) Buffered() int { return r.src.Buffered() }

// Message reads m. An error is a [*FormatError].
func (r *Reader) Message(m Message) error {
	r.budget = r.limits.Message
	c := coder{Protocol: r.Protocol, dir: r.Dir, r: r, err: r.err}
	m.code(&c)
	if c.err != nil {
		return r.fail(messageName(m), c.err)
	}
	return nil
}

// fail remembers the first error.
func (r *Reader) fail(what string, err error) error {
	if r.err == nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		r.err = &FormatError{What: what, Offset: r.offset, Err: err}
	}
	return r.err
}

// word reads a number. At the very end of the stream it returns io.EOF.
func (r *Reader) word() (uint64, error) {
	if r.err != nil {
		return 0, r.err
	}
	var b [wordSize]byte
	if err := r.full(b[:]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// full fills b. It returns io.EOF only if nothing was there.
func (r *Reader) full(b []byte) error {
	n, err := io.ReadFull(r.src, b)
	r.offset += uint64(n)
	return err
}

// spend takes n bytes from the budget of the message.
func (r *Reader) spend(n uint64) error {
	if n > r.budget {
		return ErrTooLong
	}
	r.budget -= n
	return nil
}

// bytes reads a padded string of at most so many bytes. Memory grows as bytes
// arrive, not by the length that the peer claims.
func (r *Reader) bytes(most uint64) ([]byte, error) {
	n, err := r.word()
	if err != nil {
		return nil, err
	}
	if n > most {
		return nil, ErrTooLong
	}
	if err := r.spend(n); err != nil {
		return nil, err
	}
	b := make([]byte, 0, min(n, bufferSize))
	for uint64(len(b)) < n {
		if len(b) == cap(b) {
			bigger := make([]byte, len(b), min(n, 2*uint64(cap(b))))
			copy(bigger, b)
			b = bigger
		}
		room := b[len(b):cap(b)]
		if err := r.full(room); err != nil {
			return nil, cut(err)
		}
		b = b[:cap(b)]
	}
	return b, r.padding(n)
}

// padding reads what follows n bytes.
func (r *Reader) padding(n uint64) error {
	var zeros, got [wordSize]byte
	pad := -n % wordSize
	if err := r.full(got[:pad]); err != nil {
		return cut(err)
	}
	if got != zeros {
		return ErrPadding
	}
	return nil
}

// cut is for the middle of a message, where no end is a good one.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
