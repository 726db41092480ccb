package result

import (
	"fmt"

	"larder/store"
)

// BuildError says why a goal of the realiser failed. All who waited for the goal have
// the same one, so it must not be changed. It unwraps to Err, whose chain tells more
// where there is more to tell: [*HashMismatchError], *sandbox.SetupError,
// store.ErrNotFound, store.ErrCorrupt, …
type BuildError struct {
	Drv       store.StorePath // the derivation; zero if there was none to build
	Path      store.StorePath // what was wanted, if not a derivation's outputs
	Status    Status
	LogPath   string   // file with the builder's output, "" if no builder ran or none is kept
	LastLines []string // of the builder's output, at most realiser.Options.LogLines
	KeptDir   string   // the build directory, if keep-failed kept it
	// KeptOutputs is the directory, beside it, that has what there was of the outputs; "" if nothing was.
	KeptOutputs string
	Err         error // one line, with the names of what it is about
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
