package wire

import (
	"errors"
	"fmt"
	"io"
)

// Listener is the client's side of the messages between requests and replies.
type Listener struct {
	// Log gets messages and activities; nil: they are dropped. It is called by the
	// goroutine that waits and holds up the connection while it runs.
	Log func(LogMessage)
	// Body is what a daemon gets that asks for data: the body of a [Tunnelled] request.
	Body io.Reader
	// Data gets what the daemon sends: the result of [ExportPath].
	Data io.Writer
}

// Await flushes w and reads messages until the reply. It returns nil if the request
// went well: then the reply is next. A [*Error] is the daemon's answer that it did
// not; after any other error the connection is of no more use.
func (l Listener) Await(r *Reader, w *Writer) error {
	if err := w.Flush(); err != nil {
		return err
	}
	return l.Listen(r, w)
}

// Listen is Await without the flush: for a client that listens while another
// goroutine of it still writes a [Framed] body to w.
func (l Listener) Listen(r *Reader, w *Writer) error {
	for {
		m, err := r.ReadLog()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *Last:
			return nil
		case *Error:
			return m
		case *ReadData:
			err = l.answer(w, m.Size)
		case *WriteData:
			err = l.take(m.Data)
		default:
			if l.Log != nil {
				l.Log(m)
			}
		}
		if err != nil {
			return err
		}
	}
}

// answer sends at most so many bytes of the body; none at its end.
func (l Listener) answer(w *Writer, size uint64) error {
	if l.Body == nil {
		return fmt.Errorf("the daemon asks for data where there is none: %w", ErrRange)
	}
	b := make([]byte, min(size, bufferSize))
	n, err := io.ReadFull(l.Body, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if err := w.Message(&Data{Data: b[:n]}); err != nil {
		return err
	}
	return w.Flush()
}

func (l Listener) take(b []byte) error {
	if l.Data == nil {
		return fmt.Errorf("the daemon sends data that nobody asked for: %w", ErrRange)
	}
	_, err := l.Data.Write(b)
	return err
}
