package wire

import (
	"fmt"
	"math"
)

// LogMessage is what a daemon sends between a request and its reply. Nix calls
// these STDERR messages.
type LogMessage interface {
	Message
	tag() uint64
}

// The numbers that begin each message. As text, most say what they are.
const (
	tagNext          = 0x6f6c6d67 // "olmg"
	tagRead          = 0x64617461 // "data"
	tagWrite         = 0x64617416 // "dat", with 0x16
	tagLast          = 0x616c7473 // "alts"
	tagError         = 0x63787470 // "cxtp"
	tagStartActivity = 0x53545254 // "STRT"
	tagStopActivity  = 0x53544f50 // "STOP"
	tagResult        = 0x52534c54 // "RSLT"
)

// Next is a line for the user, with its newline.
type Next struct{ Text string }

func (*Next) tag() uint64     { return tagNext }
func (m *Next) code(c *coder) { c.text(&m.Text) }

// ReadData asks the client for at most so many bytes of the [Tunnelled] body. The
// answer is a [Data].
type ReadData struct{ Size uint64 }

func (*ReadData) tag() uint64     { return tagRead }
func (m *ReadData) code(c *coder) { c.word(&m.Size) }

// WriteData are bytes for the client: the reply of [ExportPath].
type WriteData struct{ Data []byte }

func (*WriteData) tag() uint64     { return tagWrite }
func (m *WriteData) code(c *coder) { c.blob(&m.Data) }

// Last ends the messages: the reply follows.
type Last struct{}

func (*Last) tag() uint64 { return tagLast }
func (*Last) code(*coder) {}

// StartActivity says that something begins.
type StartActivity struct {
	ID     uint64 // not 0, and unique as long as the connection lives
	Level  Verbosity
	Type   ActivityType
	Text   string // for clients that do not know the type
	Fields []Field
	Parent uint64 // 0: none
}

func (*StartActivity) tag() uint64 { return tagStartActivity }
func (m *StartActivity) code(c *coder) {
	c.word(&m.ID)
	c.verbosity(&m.Level)
	number(c, &m.Type, math.MaxUint32)
	c.text(&m.Text)
	list(c, &m.Fields, (*coder).field)
	c.word(&m.Parent)
}

// StopActivity says that it is over.
type StopActivity struct{ ID uint64 }

func (*StopActivity) tag() uint64     { return tagStopActivity }
func (m *StopActivity) code(c *coder) { c.word(&m.ID) }

// Result says that something happened in an activity.
type Result struct {
	ID     uint64
	Type   ResultType
	Fields []Field
}

func (*Result) tag() uint64 { return tagResult }
func (m *Result) code(c *coder) {
	c.word(&m.ID)
	number(c, &m.Type, math.MaxUint32)
	list(c, &m.Fields, (*coder).field)
}

func newLogMessage(tag uint64) LogMessage {
	switch tag {
	case tagNext:
		return &Next{}
	case tagRead:
		return &ReadData{}
	case tagWrite:
		return &WriteData{}
	case tagLast:
		return &Last{}
	case tagError:
		return &Error{}
	case tagStartActivity:
		return &StartActivity{}
	case tagStopActivity:
		return &StopActivity{}
	case tagResult:
		return &Result{}
	}
	return nil
}

// ReadLog reads the next message.
func (r *Reader) ReadLog() (LogMessage, error) {
	tag, err := r.word()
	if err != nil {
		return nil, r.fail("log message", err)
	}
	m := newLogMessage(tag)
	if m == nil {
		return nil, r.fail("log message", fmt.Errorf("%w: unknown message %#x", ErrRange, tag))
	}
	return m, r.Message(m)
}

// WriteLog writes a message.
func (w *Writer) WriteLog(m LogMessage) error {
	return w.encode(messageName(m), func(c *coder) {
		tag := m.tag()
		c.word(&tag)
		m.code(c)
	})
}
