package store

import (
	"errors"
	"fmt"
)

// Sentinels that cross package borders. Test with errors.Is.
var (
	// ErrNotValid says that a path is not registered in the store that was asked.
	ErrNotValid = errors.New("path is not valid")

	// ErrNotFound says that a binary cache or a lookup has no such thing, and
	// that this is an answer, not a failure to get one.
	ErrNotFound = errors.New("not found")

	// ErrCorrupt marks data that contradicts its own hash, size or format.
	ErrCorrupt = errors.New("corrupt")

	// ErrDamaged says that the object of a valid path is not here, or not what was registered.
	ErrDamaged = errors.New("damaged")

	// ErrReadOnly says that the store is open for reading only, so that what is not here can't come.
	ErrReadOnly = errors.New("no write access to the store")

	// ErrBadSignature says that a path info has no signature by a trusted key.
	ErrBadSignature = errors.New("no signature by a trusted key")
)

// PathError is an error about one store path. It unwraps to Err.
type PathError struct {
	Op   string // what was being done, as a verb: "register"
	Dir  Dir    // where the path is; "" where that is not known
	Path StorePath
	Err  error
}

func (e *PathError) Error() string {
	name := e.Path.String()
	if e.Dir != "" {
		name = e.Dir.Join(e.Path) // as users know it
	}
	return fmt.Sprintf("%s %s: %v", e.Op, name, e.Err)
}

func (e *PathError) Unwrap() error { return e.Err }

// SyntaxError is text that is not what it should be.
type SyntaxError struct {
	What   string // the kind of thing: "store path"
	Text   string // the offending text, cut to a readable length
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%q is not a valid %s: %s", e.Text, e.What, e.Reason)
}

// syntaxError cuts text, which may come from a hostile peer, to a length that
// fits on a line.
func syntaxError(what, text, format string, args ...any) error {
	const most = 260
	if len(text) > most {
		text = text[:most] + "…"
	}
	return &SyntaxError{What: what, Text: text, Reason: fmt.Sprintf(format, args...)}
}
