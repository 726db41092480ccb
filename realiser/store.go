package realiser

import (
	"context"
	"io"

	"larder/realiser/builder"
	"larder/store"
	"larder/store/derivation"
)

// Store is what the realiser needs of the local store. *local.Store has it.
type Store interface {
	builder.Store

	// Valid tells of each path whether it is valid, in the order of paths.
	Valid(ctx context.Context, paths []store.StorePath) ([]bool, error)
	// ValidDerivers returns the valid derivations that have p as an output.
	ValidDerivers(ctx context.Context, p store.StorePath) ([]store.StorePath, error)

	// Realisation is what an output turned out to be whose path its derivation does
	// not say; store.ErrNotFound: nobody knows. RegisterRealisation records it
	// durably; the path must be valid, and the same if there is a record.
	Realisation(ctx context.Context, id store.DrvOutput) (*store.Realisation, error)
	RegisterRealisation(ctx context.Context, r *store.Realisation) error
	AddDerivation(ctx context.Context, drv *derivation.Derivation) (store.StorePath, error)

	// CheckContents reads the object of a valid path; the error matches store.ErrDamaged if it is not what was registered.
	CheckContents(ctx context.Context, p store.StorePath) error
	// Lock takes the import locks of paths that are about to be registered, and waits for those who have them, until ctx ends.
	// Garbage collection spares locked paths.
	Lock(ctx context.Context, paths ...store.StorePath) (unlock func(), err error)
}

// Substituter is a source of finished store objects. *cache.Cache is one. What
// NarInfo returns is accepted: whoever made the Substituter has checked
// signatures. Errors name the substituter.
type Substituter interface {
	String() string // its URL, for messages
	// Priority orders substituters, lowest first. It is asked rarely.
	Priority(ctx context.Context) int
	// NarInfo returns what the source says about p. An error that matches
	// store.ErrNotFound is its answer that it has no such path. A NAR hash of zero and a NAR size of 0 are not
	// known beforehand, and what comes is taken for it; NAR has a limit of its own then.
	NarInfo(ctx context.Context, p store.StorePath) (*store.NarInfo, error)
	// NAR streams the uncompressed archive.
	NAR(ctx context.Context, n *store.NarInfo) (io.ReadCloser, error)
}
