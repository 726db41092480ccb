package control

import (
	"context"
	"fmt"
	"io"

	"larder/nar"
	"larder/realiser"
	"larder/store"
	"larder/store/derivation"
)

// Service is everything that the CLI asks of a store. Methods may be called concurrently. What they return belongs to the
// caller.
type Service interface {
	// Dir is the store directory.
	Dir() store.Dir
	// Hello tells who answers.
	Hello(ctx context.Context) (*Hello, error)
	// Close lets go of the store or of the connections to the daemon.
	Close() error

	// Realise makes targets valid. The error says that the request as a whole failed; how each target went is in the
	// outcome. Events, if not nil, is called with what happens meanwhile, from one goroutine at a time, and not after
	// Realise has returned. The caller is who wants it; over the API that is whoever made the connection.
	Realise(ctx context.Context, caller store.Caller, r RealiseRequest, events func(realiser.Event)) (*realiser.Outcome, error)
	// Plan says what Realise would do.
	Plan(ctx context.Context, targets []realiser.Target) (*realiser.Plan, error)
	// Why explains the state of a path.
	Why(ctx context.Context, p store.StorePath) (*realiser.Explanation, error)
	// Status is what goes on at this moment.
	Status(ctx context.Context) (*Status, error)
	// Events calls f with what happens, until ctx is done or the realiser is closed; its error ends it too.
	Events(ctx context.Context, f func(realiser.Event) error) error
	// Log opens the build log of a derivation, or of the derivation that makes a path; store.ErrNotFound if there is none.
	Log(ctx context.Context, p store.StorePath) (io.ReadCloser, error)

	// PathInfo returns what is known of a path; store.ErrNotValid if it is not valid.
	PathInfo(ctx context.Context, p store.StorePath) (*store.PathInfo, error)
	// PathFromHashPart returns the valid path with a digest; store.ErrNotValid if there is none.
	PathFromHashPart(ctx context.Context, digest [20]byte) (store.StorePath, error)
	// Query returns the paths that stand in a relation to the given ones, without duplicates.
	Query(ctx context.Context, relation Relation, paths []store.StorePath) ([]store.StorePath, error)
	// Outputs returns the outputs of a derivation whose paths are known, by name.
	Outputs(ctx context.Context, drv store.StorePath) (map[string]store.StorePath, error)
	// Realisation returns what is known of an output whose path its derivation does not say; store.ErrNotFound if nothing is.
	Realisation(ctx context.Context, id store.DrvOutput) (*store.Realisation, error)
	// Realisations returns what is known of outputs that turned out to be a valid path.
	Realisations(ctx context.Context, p store.StorePath) ([]*store.Realisation, error)
	// Derivation returns a valid derivation.
	Derivation(ctx context.Context, drv store.StorePath) (*derivation.Derivation, error)
	// DumpNAR writes the NAR of a valid path.
	DumpNAR(ctx context.Context, w io.Writer, p store.StorePath) error
	// Listing lists the NAR of a valid path.
	Listing(ctx context.Context, p store.StorePath) (*nar.Listing, error)

	// Add adds a content-addressed object from its NAR.
	Add(ctx context.Context, r AddRequest, nar io.Reader) (store.StorePath, error)
	// AddDerivation adds a derivation, given as ATerm or JSON (see ParseDerivation), after computing the output paths that
	// it lacks and checking those it has.
	AddDerivation(ctx context.Context, name string, text []byte) (store.StorePath, error)

	// Roots lists the GC roots.
	Roots(ctx context.Context) ([]Root, error)
	// AddRoot makes what a symlink points to a GC root for as long as the symlink is there. It exists already.
	AddRoot(ctx context.Context, link string) error
	// CollectGarbage deletes what no root needs.
	CollectGarbage(ctx context.Context, r GCRequest) (*GCResult, error)
	// Verify looks at the objects of valid paths, and repairs them if asked to.
	Verify(ctx context.Context, caller store.Caller, r VerifyRequest) (*VerifyResult, error)
	// Optimise makes equal files of objects links to one.
	Optimise(ctx context.Context) (*OptimiseResult, error)

	// Failures lists the builds that are known to fail and are not tried again.
	Failures(ctx context.Context) ([]store.Failure, error)
	// ForgetFailures forgets those of outputs or derivations, or all of them if no path is given, and returns how many it were.
	ForgetFailures(ctx context.Context, paths []store.StorePath) (int, error)
}

// Hello says who answers.
type Hello struct {
	Version  int       `json:"version"` // of the API
	Program  string    `json:"program"` // version of Larder
	PID      int       `json:"pid"`     // 0: no daemon, but this very process
	StoreDir store.Dir `json:"storeDir"`
	StateDir string    `json:"stateDir"`
	Mount    string    `json:"mount,omitempty"` // where the store is mounted
}

// Version is the version of the API.
const Version = 1

// Status is what goes on.
type Status struct {
	Hello
	Paths        int               `json:"paths"` // valid ones
	Substituters []string          `json:"substituters"`
	Realiser     realiser.Snapshot `json:"realiser"`
}

// RealiseRequest is what shall be realised.
type RealiseRequest struct {
	Targets   []realiser.Target `json:"targets"`
	KeepGoing bool              `json:"keepGoing,omitempty"`
	// Mode is what shall be done with them. Who repairs must own the store: it replaces what others use.
	Mode realiser.Mode `json:"mode,omitempty"`
	// Rounds is how often each builder runs at least, to compare what it makes; 0 and 1: once.
	Rounds     int  `json:"rounds,omitempty"`
	KeepFailed bool `json:"keepFailed,omitempty"` // leave the build directories of failed builds to the caller
}

// Relation is a kind of query.
type Relation string

const (
	References Relation = "references" // what the paths refer to
	Referrers  Relation = "referrers"  // what refers to them
	Closure    Relation = "closure"    // they and all that they refer to, in turn; references first
	Deriver    Relation = "deriver"    // what made them, or the registered derivations that would
)

// AddRequest describes an object to be added.
type AddRequest struct {
	Name       string
	Method     store.Method
	Algo       store.HashAlgo
	References []store.StorePath
}

// Root is a GC root.
type Root struct {
	Path store.StorePath `json:"path"`
	Link string          `json:"link"` // what keeps it: a file name, or a description in braces
}

// GCRequest says what to delete.
type GCRequest struct {
	DryRun   bool              `json:"dryRun,omitempty"`
	MaxFreed uint64            `json:"maxFreed,omitempty"` // bytes; 0: no limit
	Paths    []store.StorePath `json:"paths,omitempty"`    // only these; it is an error if one is alive
	// Unregistered asks to delete also what is not registered. That may be another store's: real Nix's, for example.
	Unregistered bool `json:"unregistered,omitempty"`
}

// GCResult is what was deleted, or would be.
type GCResult struct {
	Paths        []store.StorePath `json:"paths"`
	Freed        uint64            `json:"freed"`                  // bytes on disk; of NARs in a dry run
	Live         int               `json:"live"`                   // paths that stay
	Unregistered []string          `json:"unregistered,omitempty"` // names in the object directory that nothing knows of
	StaleRoots   []string          `json:"staleRoots,omitempty"`   // links that are gone
}

func (r Relation) check() error {
	switch r {
	case References, Referrers, Closure, Deriver:
		return nil
	}
	return badRequest("unknown relation %q", string(r))
}

func (h *Hello) check() error {
	if h.Version != Version {
		return fmt.Errorf("the daemon (larder %s, process %d) speaks version %d of the control API, this is larder with version %d; restart the daemon",
			h.Program, h.PID, h.Version, Version)
	}
	return nil
}
