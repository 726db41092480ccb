package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// FramedReader reads a [Framed] body: chunks, each with its length in front, until
// one of length 0. Unlike strings, frames are not padded.
type FramedReader struct {
	r    *Reader
	left uint64 // of the current frame
	done bool
}

// NewFramedReader reads the body that is next in r.
func NewFramedReader(r *Reader) *FramedReader { return &FramedReader{r: r} }

func (f *FramedReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if f.left == 0 && !f.done {
		n, err := f.r.word()
		if err != nil {
			return 0, f.r.fail("frame", err)
		}
		f.left, f.done = n, n == 0
	}
	if f.done {
		return 0, io.EOF
	}
	n, err := f.r.some(p[:min(uint64(len(p)), f.left)])
	f.left -= uint64(n)
	if n == 0 && err != nil {
		return 0, f.r.fail("frame", err)
	}
	return n, nil
}

// Drain reads what is left. A daemon that has lost interest in a body must still
// read it before it answers, or its client, which is busy sending, never listens.
func (f *FramedReader) Drain() error {
	_, err := io.Copy(io.Discard, f)
	return err
}

// some reads what there is, at least a byte.
func (r *Reader) some(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.src.Read(p)
	r.offset += uint64(n)
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return n, err
}

// FramedWriter writes a [Framed] body. Small writes are gathered.
type FramedWriter struct {
	frames frames
	buf    *bufio.Writer
}

// NewFramedWriter writes a body after the request.
func NewFramedWriter(w *Writer) *FramedWriter {
	f := &FramedWriter{frames: frames{w: w}}
	f.buf = bufio.NewWriterSize(&f.frames, bufferSize)
	return f
}

func (f *FramedWriter) Write(p []byte) (int, error) { return f.buf.Write(p) }

// Close ends the body and sends it. A client that can't complete a body has to
// Close it all the same, or hang up: otherwise the daemon waits for the rest.
func (f *FramedWriter) Close() error {
	if err := f.buf.Flush(); err != nil {
		return err
	}
	if f.frames.closed {
		return errors.New("close of a framed stream that is closed")
	}
	f.frames.closed = true
	if err := f.frames.header(0); err != nil {
		return err
	}
	return f.frames.w.Flush()
}

// frames makes a frame of each write.
type frames struct {
	w      *Writer
	closed bool
}

func (f *frames) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil // an empty frame would be the end
	}
	if err := f.header(uint64(len(p))); err != nil {
		return 0, err
	}
	return f.w.Write(p)
}

func (f *frames) header(n uint64) error {
	_, err := f.w.Write(binary.LittleEndian.AppendUint64(nil, n))
	return err
}
