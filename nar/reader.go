package nar

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
)

// readBuffer is how far a Reader reads ahead.
const readBuffer = 128 << 10

var readBuffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBuffer) }}

// pooledReader is NewReader with a buffer from the pool; release gives it back, after which the Reader must not be used.
func pooledReader(r io.Reader) (_ *Reader, release func()) {
	if src, ok := r.(*bufio.Reader); ok {
		return NewReader(src), func() {}
	}
	src := readBuffers.Get().(*bufio.Reader)
	src.Reset(r)
	return NewReader(src), func() {
		src.Reset(nil) // keeps nothing of r alive
		readBuffers.Put(src)
	}
}

// Reader reads the entries of one archive from a stream. It accepts only the canonical form. It is not for concurrent use.
type Reader struct {
	src     *bufio.Reader
	off     int64 // bytes consumed
	left    int64 // bytes of the current contents not yet consumed
	pad     int64 // padding after the current contents; checked when left is 0
	started bool
	open    bool // the current entry's node still has to be closed
	trail   trail
	err     error // sticky
	word    [wordSize]byte
}

// NewReader returns a Reader of the archive that starts at r's current position. It reads ahead, unless r is a
// *bufio.Reader: that one is used directly and stands behind the archive's last byte when Next has returned io.EOF.
func NewReader(r io.Reader) *Reader {
	src, ok := r.(*bufio.Reader)
	if !ok {
		src = bufio.NewReaderSize(r, readBuffer)
	}
	return &Reader{src: src}
}

// Offset is the number of bytes of the archive that have been consumed; after Next returned io.EOF, the archive's size.
func (r *Reader) Offset() int64 { return r.off }

// Next goes on to the next entry and returns it; what was not read of the current contents is skipped. The first entry is
// the root. It returns io.EOF after the archive's last byte, a *FormatError if the archive is malformed, and otherwise the
// error of the underlying stream, wrapped. Errors are final.
func (r *Reader) Next() (*Entry, error) {
	if r.err != nil {
		return nil, r.err
	}
	e, err := r.next()
	if err != nil {
		r.err = err
		return nil, err
	}
	return e, nil
}

func (r *Reader) next() (*Entry, error) {
	if !r.started {
		r.started = true
		if err := r.expect(wordMagic, "the magic \"nix-archive-1\""); err != nil {
			return nil, err
		}
		return r.node()
	}
	if r.open {
		if err := r.finish(); err != nil {
			return nil, err
		}
		if err := r.closeNode(); err != nil {
			return nil, err
		}
	}
	for r.trail.depth() > 0 {
		at := r.off
		if err := r.readWord(); err != nil {
			return nil, err
		}
		switch string(r.word[:]) {
		case wordEntry:
			return r.entry()
		case wordClose:
			r.trail.leave()
			if r.trail.depth() == 0 {
				return nil, io.EOF
			}
			if err := r.expect(wordClose, "\")\" after an entry"); err != nil {
				return nil, err
			}
		default:
			return nil, r.unexpected(at, "\"entry\" or \")\"")
		}
	}
	return nil, io.EOF
}

// entry reads what follows the word "entry".
func (r *Reader) entry() (*Entry, error) {
	if err := r.expect(wordOpen, "\"(\" after \"entry\""); err != nil {
		return nil, err
	}
	if err := r.expect(wordName, "\"name\""); err != nil {
		return nil, err
	}
	at := r.off
	name, err := r.readString(MaxName, "file name")
	if err != nil {
		return nil, err
	}
	if reason := r.trail.next(name); reason != "" {
		return nil, &FormatError{Offset: at, Reason: reason}
	}
	if err := r.expect(wordNode, "\"node\""); err != nil {
		return nil, err
	}
	return r.node()
}

// node reads a node up to its contents, its entries, or its closing parenthesis.
func (r *Reader) node() (*Entry, error) {
	if err := r.expect(wordOpen, "\"(\" before a node"); err != nil {
		return nil, err
	}
	if err := r.expect(wordType, "\"type\""); err != nil {
		return nil, err
	}
	e := &Entry{Path: string(r.trail.path)}
	at := r.off
	if err := r.readWord(); err != nil {
		return nil, err
	}
	switch string(r.word[:]) {
	case wordRegular:
		e.Type = Regular
		return e, r.regular(e)
	case wordSymlink:
		e.Type = Symlink
		return e, r.symlink(e)
	case wordDirectory[:wordSize]:
		if err := r.expectRest(wordDirectory, at, "a node type"); err != nil {
			return nil, err
		}
		e.Type = Directory
		if reason := r.trail.enter(); reason != "" {
			return nil, &FormatError{Offset: at, Reason: reason}
		}
		return e, nil
	}
	return nil, r.unexpected(at, "a node type")
}

func (r *Reader) regular(e *Entry) error {
	at := r.off
	if err := r.readWord(); err != nil {
		return err
	}
	if string(r.word[:]) == wordExecutable[:wordSize] {
		if err := r.expectRest(wordExecutable, at, "\"executable\" or \"contents\""); err != nil {
			return err
		}
		if err := r.expect(wordEmpty, "\"\" as the value of \"executable\""); err != nil {
			return err
		}
		e.Executable = true
		at = r.off
		if err := r.readWord(); err != nil {
			return err
		}
	}
	if string(r.word[:]) != wordContents {
		return r.unexpected(at, "\"contents\"")
	}
	at = r.off
	n, err := r.readLength()
	if err != nil {
		return err
	}
	// The bound keeps offsets from overflowing; no stream is that long.
	if n > math.MaxInt64/2 {
		return &FormatError{Offset: at, Reason: fmt.Sprintf("contents of %d bytes", n)}
	}
	e.Size, e.Offset = int64(n), r.off
	r.left, r.pad, r.open = e.Size, padding(e.Size), true
	return nil
}

func (r *Reader) symlink(e *Entry) error {
	if err := r.expect(wordTarget, "\"target\""); err != nil {
		return err
	}
	at := r.off
	target, err := r.readString(MaxTarget, "symlink target")
	if err != nil {
		return err
	}
	e.Target = string(target)
	if reason := checkTarget(e.Target); reason != "" {
		return &FormatError{Offset: at, Reason: reason}
	}
	r.open = true
	return nil
}

// closeNode reads the end of a regular file or symlink, and of the directory entry it is in.
func (r *Reader) closeNode() error {
	r.open = false
	if err := r.expect(wordClose, "\")\" after a node"); err != nil {
		return err
	}
	if r.trail.depth() == 0 {
		return nil
	}
	return r.expect(wordClose, "\")\" after an entry")
}

// Read reads from the contents of the current entry. It returns io.EOF at their end, and at once if the entry is not a
// regular file. Other errors are those of Next.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil && r.err != io.EOF {
		return 0, r.err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.src.Read(p[:min(int64(len(p)), r.left)])
	r.consumed(n)
	if err != nil {
		r.err = r.readError(err)
		return n, r.err
	}
	return n, nil
}

// WriteTo writes what is left of the current entry's contents to w, straight from the Reader's buffer.
func (r *Reader) WriteTo(w io.Writer) (written int64, err error) {
	if r.err != nil && r.err != io.EOF {
		return 0, r.err
	}
	for r.left > 0 {
		chunk, err := r.peekContents()
		if err != nil {
			return written, err
		}
		n, err := w.Write(chunk)
		written += int64(n)
		if err == nil && n < len(chunk) {
			err = io.ErrShortWrite
		}
		r.discardContents(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// peekContents returns buffered bytes of the current contents, at least one. It may only be called while some are left.
func (r *Reader) peekContents() ([]byte, error) {
	if r.src.Buffered() == 0 {
		if _, err := r.src.Peek(1); err != nil {
			r.err = r.readError(err)
			return nil, r.err
		}
	}
	chunk, err := r.src.Peek(int(min(int64(r.src.Buffered()), r.left)))
	if err != nil {
		r.err = r.readError(err)
	}
	return chunk, err
}

// discardContents consumes n bytes that peekContents returned.
func (r *Reader) discardContents(n int) {
	n, _ = r.src.Discard(n) // they are in the buffer: it cannot fail
	r.consumed(n)
}

func (r *Reader) consumed(n int) {
	r.off += int64(n)
	r.left -= int64(n)
}

// finish skips what is left of the current contents, and checks the padding.
func (r *Reader) finish() error {
	for r.left > 0 {
		n, err := r.src.Discard(int(min(r.left, math.MaxInt32)))
		r.consumed(n)
		if err != nil {
			return r.readError(err)
		}
	}
	pad := r.pad
	r.pad = 0
	return r.readPadding(pad)
}

// ExpectEOF checks that nothing follows the archive; it is to be called when Next has returned io.EOF. Bytes that follow
// are a *FormatError.
func (r *Reader) ExpectEOF() error {
	if r.err != io.EOF {
		return errors.New("nar: ExpectEOF before the end of the archive")
	}
	_, err := r.src.ReadByte()
	switch {
	case err == nil:
		return &FormatError{Offset: r.off, Reason: "bytes follow the archive"}
	case err == io.EOF:
		return nil
	}
	return r.readError(err)
}
