package wire

import (
	"fmt"
	"io"
)

// Data is the client's answer to [ReadData]; empty at the end of its data.
type Data struct{ Data []byte }

func (m *Data) code(c *coder) { c.blob(&m.Data) }

// TunnelReader reads the [Tunnelled] body of a request: each Read asks the client
// for as much as there is room. Wrap it in a buffer, for each question is a round
// trip. It does not know where a NAR ends: read no further than that.
type TunnelReader struct {
	r    *Reader
	l    *Logger
	rest []byte
}

// NewTunnelReader reads from a client to which the logger is open.
func NewTunnelReader(r *Reader, l *Logger) *TunnelReader { return &TunnelReader{r: r, l: l} }

func (t *TunnelReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(t.rest) == 0 {
		if err := t.ask(uint64(min(len(p), bufferSize))); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

func (t *TunnelReader) ask(size uint64) error {
	if err := t.l.Log(&ReadData{Size: size}); err != nil {
		return err
	}
	var answer Data
	if err := t.r.Message(&answer); err != nil {
		return err
	}
	switch {
	case len(answer.Data) == 0:
		return io.EOF
	case uint64(len(answer.Data)) > size:
		return t.r.fail("Data", fmt.Errorf("%d bytes where %d were asked for: %w", len(answer.Data), size, ErrTooLong))
	}
	t.rest = answer.Data
	return nil
}
