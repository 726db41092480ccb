package realiser

import (
	"errors"
	"fmt"
	"time"

	"larder/store"
)

// BuildError says why a goal failed. It unwraps to Err, whose chain tells more
// where there is more to tell: [*HashMismatchError], *sandbox.SetupError,
// store.ErrNotFound, store.ErrCorrupt, …
type BuildError struct {
	Drv       store.StorePath // the derivation; zero if there was none to build
	Path      store.StorePath // what was wanted, if not a derivation's outputs
	Status    Status
	LogPath   string   // file with the builder's output, "" if no builder ran
	LastLines []string // of the builder's output, at most Options.LogLines
	KeptDir   string   // the build directory, if Options.KeepFailed kept it
	Err       error    // one line, with the names of what it is about
}

func (e *BuildError) Error() string { return e.Err.Error() }
func (e *BuildError) Unwrap() error { return e.Err }

// HashMismatchError says that a fixed-output derivation made something else than
// it promised. Each face gives it a status of its own (Nix: exit status 102).
type HashMismatchError struct {
	Drv            string // absolute path of the derivation
	Specified, Got store.Hash
}

func (e *HashMismatchError) Error() string {
	return fmt.Sprintf("hash mismatch in fixed-output derivation '%s': specified %s, got %s",
		e.Drv, e.Specified.Text(store.SRI), e.Got.Text(store.SRI))
}

// BuildResult is how one target of a request ended.
type BuildResult struct {
	Target  Target
	Status  Status
	Outputs map[string]store.StorePath // those asked for, by name; nil for a target that is a plain path
	Err     error                      // nil exactly if Status.Success()
	// When the builder ran and what it used; zero if none ran for this target.
	Start, Stop        time.Time
	CPUUser, CPUSystem time.Duration
}

// Outcome holds a result for each target of a request, in the same order.
type Outcome struct {
	Results []BuildResult
}

// Err joins the errors of all targets; nil if all succeeded.
func (o *Outcome) Err() error {
	var errs []error
	for _, r := range o.Results {
		errs = append(errs, r.Err)
	}
	return errors.Join(errs...)
}

// result is what a goal leaves behind.
type result struct {
	status             Status
	err                *BuildError // nil exactly if status.Success()
	incomplete         bool        // a substituter has the path, but not all that it refers to
	outputs            map[string]store.StorePath
	start, stop        time.Time
	cpuUser, cpuSystem time.Duration
}

// failed makes a result about the path of a goal.
func (g *goal) failed(s Status, err error) result {
	e := &BuildError{Status: s, Err: err}
	if g.key.kind == derivationGoal {
		e.Drv = g.key.path
	} else {
		e.Path = g.key.path
	}
	return result{status: s, err: e}
}

func (g *goal) failf(s Status, format string, args ...any) result {
	return g.failed(s, fmt.Errorf(format, args...))
}
