package wire

import (
	"errors"
	"fmt"
)

// What can be wrong with the bytes of a peer. A [*FormatError] says where.
var (
	// ErrTooLong says that a string, a list or a whole message exceeds the [Limits].
	ErrTooLong = errors.New("longer than what is allowed")

	// ErrPadding says that the bytes after a string are not zero.
	ErrPadding = errors.New("non-zero padding")

	// ErrRange says that a number is none of those that its type has.
	ErrRange = errors.New("number out of range")

	// ErrMagic says that the peer does not speak this protocol at all.
	ErrMagic = errors.New("protocol mismatch")

	// ErrNAR says that what should be a NAR is none, so that its end can't be found.
	ErrNAR = errors.New("not a NAR")
)

// ErrUnsupported says that the version that was agreed on has no way to say this.
// It comes before a byte was written, so the connection is as good as before.
var ErrUnsupported = errors.New("the peer's protocol version is too old for this")

// FormatError says that the peer's bytes are no message. Nothing can be read
// after it, because nobody knows where the next message begins. It unwraps to one
// of the sentinels above, [io.ErrUnexpectedEOF], a [*store.SyntaxError], or to what
// the connection reported.
type FormatError struct {
	What   string // the message: "IsValidPath"
	Offset uint64 // of the first byte that was not read, from the beginning of the connection
	Err    error
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("read %s at byte %d: %v", e.What, e.Offset, e.Err)
}

func (e *FormatError) Unwrap() error { return e.Err }

// VersionError says that the peer is too old to talk to.
type VersionError struct {
	Peer Version
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("protocol version %s of the peer is not supported: Larder speaks %s to %s", e.Peer, MinVersion, MaxVersion)
}

// OpError says that a client asked for an operation that does not exist.
type OpError struct {
	Op Op
}

func (e *OpError) Error() string { return fmt.Sprintf("invalid operation %d", uint64(e.Op)) }
