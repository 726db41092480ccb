package realiser

import (
	"errors"
	"fmt"
	"time"

	"larder/realiser/result"
	"larder/store"
)

// BuildResult is how one target of a request ended.
type BuildResult struct {
	Target  Target
	Status  result.Status
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

// ending is what a goal leaves behind.
type ending struct {
	status             result.Status
	err                *result.BuildError // nil exactly if status.Success()
	incomplete         bool               // a substituter has the path, but not all that it refers to
	outputs            map[string]store.StorePath
	complete           bool  // outputs holds all that the derivation has
	keep               *keep // on outputs whose paths nobody knew before; nil: none
	start, stop        time.Time
	cpuUser, cpuSystem time.Duration
}

// failed makes an ending about the path of a goal.
func (g *goal) failed(s result.Status, err error) ending {
	e := &result.BuildError{Status: s, Err: err}
	if g.key.kind == derivationGoal {
		e.Drv = g.key.path
	} else {
		e.Path = g.key.path
	}
	return ending{status: s, err: e}
}

func (g *goal) failf(s result.Status, format string, args ...any) ending {
	return g.failed(s, fmt.Errorf(format, args...))
}

type errorString string

func (e errorString) Error() string { return string(e) }
