package builder

import (
	"context"
	"io"
	"log/slog"
	"time"

	"larder/realiser/userpool"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

// Store is what a build needs of the local store.
type Store interface {
	Dir() store.Dir
	// ObjectDir is the host directory of the objects and of temporary names;
	// ObjectPath is where a valid path's object lies in it.
	ObjectDir() string
	ObjectPath(p store.StorePath) string

	// NewTemp notes a fresh name in ObjectDir and creates nothing; DropTemp removes
	// the name and whatever is there.
	NewTemp(ctx context.Context) (name string, err error)
	DropTemp(name string) error
	// AddTempRoot keeps paths, valid or not, from garbage collection.
	AddTempRoot(paths ...store.StorePath) (release func())
	// Canonicalise gives the tree at temp the metadata of a store object, and
	// refuses what a builder must not leave behind. uid is who must own it, -1 for anybody.
	Canonicalise(ctx context.Context, temp string, uid int) error
	PathInfo(ctx context.Context, p store.StorePath) (*store.PathInfo, error)
	Closure(ctx context.Context, paths []store.StorePath) ([]store.StorePath, error)
	Derivation(ctx context.Context, p store.StorePath) (*derivation.Derivation, error)

	// Register makes all of them valid at once, or none.
	Register(ctx context.Context, adds ...store.Addition) error
	// Replace puts objects in the place of valid ones.
	Replace(ctx context.Context, adds ...store.Addition) error
	// Confirm notes that a valid path was made here once more, equal.
	Confirm(ctx context.Context, p store.StorePath, signatures ...store.Signature) error
}

// Sandbox runs builders. *linux.Runner is one.
type Sandbox interface {
	// Run returns when all processes of the build are gone. An error says that the
	// builder was not run, or not to its end; ctx ends it early.
	Run(ctx context.Context, spec *sandbox.Spec, log io.Writer) (*sandbox.Result, error)
}

// Options are what all builds of a machine have in common. Those with the names
// of realiser.Options mean the same; there are no defaults here.
type Options struct {
	Store   Store
	Sandbox Sandbox

	Cores           int
	SandboxPaths    []sandbox.Mount
	BuildDir        string
	SandboxBuildDir string
	Users           *userpool.Pool

	SandboxMode           SandboxMode
	AllowedImpureHostDeps []string
	PreBuildHook          string

	Fetch      Fetch
	Getenv     func(name string) (string, bool)
	KeepFailed bool
	// DiffHook is a program that is shown outputs that differ; "": none.
	DiffHook string
	// AllowNonDeterminism makes it no failure that rounds differ.
	AllowNonDeterminism bool
	SecretKeys          []store.SecretKey

	Timeout    time.Duration
	MaxSilent  time.Duration
	MaxLogSize int64
	LogLines   int

	Now    func() time.Time
	Logger *slog.Logger
}
