package derivation

import (
	"errors"
	"fmt"
)

// ErrUnsupported marks derivations in a version or a form that is not supported.
var ErrUnsupported = errors.New("not supported")

// SyntaxError is a text that is not a derivation in canonical form. It unwraps
// to Err.
type SyntaxError struct {
	Name   string // of the derivation
	Offset int    // in bytes, -1 if unknown
	Err    error
}

func (e *SyntaxError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("derivation %s: %v", e.Name, e.Err)
	}
	return fmt.Sprintf("derivation %s: at byte %d: %v", e.Name, e.Offset, e.Err)
}

func (e *SyntaxError) Unwrap() error { return e.Err }

// InvalidError is a derivation that contradicts itself, whatever its form.
type InvalidError struct {
	Name   string
	Reason string
}

func (e *InvalidError) Error() string { return fmt.Sprintf("derivation %s: %s", e.Name, e.Reason) }

// OutputPathError is a derivation that claims a path that it has no right to,
// for itself, in an output or in the environment variable of an output.
type OutputPathError struct {
	Name string // of the derivation
	What string // `store path`, `output "dev"`, `environment variable "dev"`
	Got  string // "" if it is missing
	Want string
}

func (e *OutputPathError) Error() string {
	if e.Got == "" {
		return fmt.Sprintf("derivation %s: %s is missing, it should be %s", e.Name, e.What, e.Want)
	}
	return fmt.Sprintf("derivation %s: %s is %s, but should be %s", e.Name, e.What, e.Got, e.Want)
}

// AttributeError is an attribute of a type that it must not have: see [Options].
type AttributeError struct {
	Name      string // of the derivation
	Attribute string
	Reason    string // what follows on the name, such as "must be a Boolean"
}

func (e *AttributeError) Error() string {
	return fmt.Sprintf("attribute '%s' of derivation '%s' %s", e.Attribute, e.Name, e.Reason)
}
