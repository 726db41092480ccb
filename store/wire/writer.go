package wire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"larder/store"
)

// Writer writes to a peer, through a buffer: what the peer is to see needs a
// [Writer.Flush]. Set Dir and Protocol before the first message; a handshake sets
// Protocol. Not for concurrent use; [Logger] shares one between goroutines.
type Writer struct {
	Dir      store.Dir
	Protocol Protocol

	dst     *bufio.Writer
	scratch []byte
}

// NewWriter writes to dst.
func NewWriter(dst io.Writer, dir store.Dir) *Writer {
	return &Writer{Dir: dir, dst: bufio.NewWriterSize(dst, bufferSize)}
}

// Message writes m, whole or not at all: where it can't be said in the protocol
// that was agreed on, the error wraps [ErrUnsupported] and nothing was written.
func (w *Writer) Message(m Message) error {
	return w.encode(messageName(m), m.code)
}

// maxScratch is how much memory an idle connection may keep.
const maxScratch = 1 << 20

func (w *Writer) encode(what string, code func(*coder)) error {
	c := coder{Protocol: w.Protocol, dir: w.Dir, out: w.scratch[:0]}
	code(&c)
	if cap(c.out) <= maxScratch {
		w.scratch = c.out
	}
	if c.err != nil {
		return fmt.Errorf("write %s: %w", what, c.err)
	}
	_, err := w.dst.Write(c.out)
	return err
}

// Write passes bytes on as they are: a NAR that follows a message.
func (w *Writer) Write(b []byte) (int, error) { return w.dst.Write(b) }

// Flush sends what is buffered.
func (w *Writer) Flush() error { return w.dst.Flush() }

// appendBytes appends a padded string.
func appendBytes[T string | []byte](out []byte, b T) []byte {
	var zeros [wordSize]byte
	out = binary.LittleEndian.AppendUint64(out, uint64(len(b)))
	out = append(out, b...)
	return append(out, zeros[:-uint(len(b))%wordSize]...)
}
