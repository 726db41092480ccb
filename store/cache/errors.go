package cache

import (
	"errors"
	"fmt"

	"larder/store"
)

// Error is a failure of a binary cache, or its answer that it lacks something. It unwraps to Err.
type Error struct {
	URL       string // of the cache, without password
	Op        string // what was being done: "fetching nar/….nar.xz"
	Err       error
	Transient bool // another attempt, later, may succeed
}

func (e *Error) Error() string { return fmt.Sprintf("binary cache %s: %s: %v", e.URL, e.Op, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Temporary is Transient, for who only knows interfaces.
func (e *Error) Temporary() bool { return e.Transient }

// storeDirError says that a cache is for another store directory.
type storeDirError struct{ theirs, ours store.Dir }

func (e *storeDirError) Error() string {
	return fmt.Sprintf("it holds paths of %s, not of %s", e.theirs, e.ours)
}

// Unwrap says what follows for any path of ours.
func (e *storeDirError) Unwrap() error { return store.ErrNotFound }

// fail wraps err, unless it is an *Error already.
func (c *Cache) fail(op string, err error) error {
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	var t *transientError
	return &Error{URL: c.name, Op: op, Err: err, Transient: errors.As(err, &t)}
}

// corrupt marks err as corruption.
func corrupt(err error) error { return fmt.Errorf("%w: %w", store.ErrCorrupt, err) }

func corruptf(format string, args ...any) error { return corrupt(fmt.Errorf(format, args...)) }
