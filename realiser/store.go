package realiser

import (
	"context"
	"io"

	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

// Store is what the realiser needs of the local store. *local.Store has it.
type Store interface {
	Dir() store.Dir
	// ObjectDir is the host directory of the objects and of temporary names;
	// ObjectPath is where a valid path's object lies in it.
	ObjectDir() string
	ObjectPath(p store.StorePath) string

	Valid(ctx context.Context, paths []store.StorePath) ([]bool, error)
	PathInfo(ctx context.Context, p store.StorePath) (*store.PathInfo, error)
	Closure(ctx context.Context, paths []store.StorePath) ([]store.StorePath, error)
	ValidDerivers(ctx context.Context, p store.StorePath) ([]store.StorePath, error)
	Derivation(ctx context.Context, p store.StorePath) (*derivation.Derivation, error)

	// NewTemp notes a fresh name in ObjectDir and creates nothing; DropTemp removes
	// the name and whatever is there.
	NewTemp(ctx context.Context) (name string, err error)
	DropTemp(name string) error
	// Canonicalise gives the tree at temp the metadata of a store object, and
	// refuses what a builder must not leave behind. uid is who must own it, -1 for anybody.
	Canonicalise(ctx context.Context, temp string, uid int) error
	// Lock takes the import locks of paths that are about to be registered.
	Lock(ctx context.Context, paths ...store.StorePath) (unlock func(), err error)
	// Register makes all of them valid at once, or none.
	Register(ctx context.Context, adds ...store.Addition) error

	// AddTempRoot keeps paths, valid or not, from garbage collection.
	AddTempRoot(paths ...store.StorePath) (release func())
}

// Substituter is a source of finished store objects. *cache.Cache is one. What
// NarInfo returns is accepted: whoever made the Substituter has checked
// signatures. Errors name the substituter.
type Substituter interface {
	String() string // its URL, for messages
	// Priority orders substituters, lowest first. It is asked rarely.
	Priority(ctx context.Context) int
	// NarInfo returns what the source says about p. An error that matches
	// store.ErrNotFound is its answer that it has no such path.
	NarInfo(ctx context.Context, p store.StorePath) (*store.NarInfo, error)
	// NAR streams the uncompressed archive.
	NAR(ctx context.Context, n *store.NarInfo) (io.ReadCloser, error)
}

// Sandbox runs builders. *linux.Runner is one.
type Sandbox interface {
	// Run returns when all processes of the build are gone. An error says that the
	// builder was not run, or not to its end; ctx ends it early.
	Run(ctx context.Context, spec *sandbox.Spec, log io.Writer) (*sandbox.Result, error)
}
