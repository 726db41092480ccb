package result

// Bits of the exit status of a program after failed builds (Nix manual, nix-store --realise, "Special exit codes").
const (
	exitBuild            = 0x64 // 100
	exitTimedOut         = 0x65 // 101
	exitHashMismatch     = 0x66 // 102
	exitNotDeterministic = 0x68 // 104
)

// ExitStatus is Nix's exit status for an error: the bits of all failed builds in its tree, else 1. What never ran, and what made
// something that is refused, has no bit.
func ExitStatus(err error) int {
	status := 0
	Walk(err, func(e error) {
		switch e := e.(type) {
		case *HashMismatchError:
			status |= exitHashMismatch
		case *BuildError:
			switch e.Status {
			case PermanentFailure, CachedFailure:
				status |= exitBuild
			case TimedOut:
				status |= exitTimedOut
			case NotDeterministic:
				status |= exitNotDeterministic
			}
		}
	})
	if status == 0 {
		return 1
	}
	return status
}

// Walk calls f with every error of a tree, parents first.
func Walk(err error, f func(error)) {
	if err == nil {
		return
	}
	f(err)
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		Walk(e.Unwrap(), f)
	case interface{ Unwrap() []error }:
		for _, c := range e.Unwrap() {
			Walk(c, f)
		}
	}
}
