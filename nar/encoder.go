package nar

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// writeBuffer is how much is collected before it is written. It is large enough to make calls rare, and small enough to
// stay in the cache of a core between being filled and being hashed.
const writeBuffer = 128 << 10

var writeBuffers = sync.Pool{New: func() any { return new([writeBuffer]byte) }}

// encoder emits the pieces of the grammar through a buffer; order and validity are up to its user. The first error of the
// underlying writer is kept, and nothing is written after it.
type encoder struct {
	w      io.Writer
	buf    *[writeBuffer]byte
	n      int   // bytes in buf
	before int64 // bytes that went through buf earlier
	err    error
}

func newEncoder(w io.Writer) encoder {
	return encoder{w: w, buf: writeBuffers.Get().(*[writeBuffer]byte)}
}

// release gives the buffer back. The encoder cannot be used afterwards.
func (e *encoder) release() {
	writeBuffers.Put(e.buf)
	e.buf = nil
}

// offset is the number of bytes emitted so far.
func (e *encoder) offset() int64 { return e.before + int64(e.n) }

// flush writes what is in the buffer and returns the kept error, if any.
func (e *encoder) flush() error {
	if e.err != nil || e.n == 0 {
		return e.err
	}
	n, err := e.w.Write(e.buf[:e.n])
	if err == nil && n < e.n {
		err = io.ErrShortWrite
	}
	if err != nil {
		e.err = fmt.Errorf("writing NAR: %w", err)
		return e.err
	}
	e.before += int64(e.n)
	e.n = 0
	return nil
}

// room returns the free space of the buffer, at least one byte; advance says how much of it was filled.
func (e *encoder) room() ([]byte, error) {
	if e.n == len(e.buf) {
		e.flush()
	}
	if e.err != nil {
		return nil, e.err
	}
	return e.buf[e.n:], nil
}

func (e *encoder) advance(n int) { e.n += n }

// reserve flushes unless n bytes fit without.
func (e *encoder) reserve(n int) error {
	if len(e.buf)-e.n < n {
		return e.flush()
	}
	return e.err
}

// skip counts n bytes that are not emitted.
func (e *encoder) skip(n int64) error {
	err := e.flush()
	e.before += n
	return err
}

// raw emits s, which is in encoded form already.
func (e *encoder) raw(s string) {
	for len(s) > 0 {
		space, err := e.room()
		if err != nil {
			return
		}
		n := copy(space, s)
		e.advance(n)
		s = s[n:]
	}
}

func (e *encoder) length(n int64) {
	if e.n+8 <= len(e.buf) {
		binary.LittleEndian.PutUint64(e.buf[e.n:], uint64(n))
		e.n += 8
		return
	}
	e.raw(string(binary.LittleEndian.AppendUint64(nil, uint64(n))))
}

func (e *encoder) padding(n int64) { e.raw(wordEmpty[:padding(n)]) }

func (e *encoder) string(s string) {
	e.length(int64(len(s)))
	e.raw(s)
	e.padding(int64(len(s)))
}

// beginEntry emits what is before the node of a directory entry; endEntry what is after.
func (e *encoder) beginEntry(name string) {
	e.raw(wordEntry + wordOpen + wordName)
	e.string(name)
	e.raw(wordNode)
}

func (e *encoder) endEntry() { e.raw(wordClose) }

// beginRegular emits what is before the contents of a regular file; endRegular what is after.
func (e *encoder) beginRegular(executable bool, size int64) {
	if executable {
		e.raw(wordOpen + wordType + wordRegular + wordExecutable + wordEmpty + wordContents)
	} else {
		e.raw(wordOpen + wordType + wordRegular + wordContents)
	}
	e.length(size)
}

func (e *encoder) endRegular(size int64) {
	e.padding(size)
	e.raw(wordClose)
}

func (e *encoder) symlink(target string) {
	e.raw(wordOpen + wordType + wordSymlink + wordTarget)
	e.string(target)
	e.raw(wordClose)
}

// beginDirectory emits what is before the entries of a directory; endDirectory what is after.
func (e *encoder) beginDirectory() { e.raw(wordOpen + wordType + wordDirectory) }

func (e *encoder) endDirectory() { e.raw(wordClose) }
