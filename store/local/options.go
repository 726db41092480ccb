package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"larder/store"
)

// Options say where a store lies and how it behaves. Only StateDir has no default.
type Options struct {
	// StoreDir is what the paths are called; store.DefaultDir if empty. It need not exist: digests depend on the name, the
	// objects lie in ObjectDir.
	StoreDir store.Dir
	// ObjectDir is where the objects lie; "" means in StoreDir itself. It is made if it does not exist.
	ObjectDir string
	// StateDir holds the database (db), the roots (gcroots, profiles) and the logs (log). It is made if it does not exist.
	StateDir string
	// ReadOnly opens the store for reading, also on a read-only file system. Whatever would change it fails with ErrReadOnly.
	ReadOnly bool
	// CacheSize is how many bytes of the database are kept in memory; 64 MiB if zero.
	CacheSize int64
	// AutoOptimise makes equal files of objects links to one file when they are registered, see Optimise.
	AutoOptimise bool
	// OnDelete, if not nil, is called with paths that GC has just made invalid, before their files vanish, so that whoever
	// shows them elsewhere can forget them. An error is logged and does not keep the files. Registrations of these very
	// paths wait for it; it may read the store, and must not change it.
	OnDelete func(ctx context.Context, paths []store.StorePath) error
	// OnReplace, if not nil, is called with paths that Replace is about to give other objects, so that whoever shows them
	// elsewhere can forget what they were and show nothing until done is called. An error keeps the objects as they are.
	OnReplace func(ctx context.Context, paths []store.StorePath) (done func(), err error)
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// Logger takes what nobody waits to hear, such as what was swept after a crash; slog.Default if nil.
	Logger *slog.Logger
	// Testing is for tests of this package.
	Testing Testing
}

// Testing lets tests see and disturb what a store does. The zero value does nothing.
type Testing struct {
	// FS is the file system of the database; the real one if nil.
	FS vfs.FS
	// Hook is called at named points, in the goroutine that works; see points.go. The work fails with the error it returns.
	Hook func(point string) error
}

// Errors about the store as a whole.
var (
	// ErrReadOnly says that the store was opened for reading.
	ErrReadOnly = store.ErrReadOnly
	// ErrClosed says that Close was called.
	ErrClosed = errors.New("the store is closed")
)

// withDefaults checks the options and fills in what is missing.
func (o Options) withDefaults() (Options, error) {
	if o.StoreDir == "" {
		o.StoreDir = store.DefaultDir
	}
	if _, err := store.ParseDir(string(o.StoreDir)); err != nil {
		return o, err
	}
	if o.ObjectDir == "" {
		o.ObjectDir = string(o.StoreDir)
	}
	for _, dir := range []struct{ name, path string }{{"object", o.ObjectDir}, {"state", o.StateDir}} {
		if !filepath.IsAbs(dir.path) {
			return o, fmt.Errorf("%s directory %q: expected an absolute path", dir.name, dir.path)
		}
	}
	if o.CacheSize < 0 {
		return o, fmt.Errorf("cache size %d: expected a positive number of bytes", o.CacheSize)
	}
	if o.CacheSize == 0 {
		o.CacheSize = 64 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Testing.FS == nil {
		o.Testing.FS = vfs.Default
	}
	if o.Testing.Hook == nil {
		o.Testing.Hook = func(string) error { return nil }
	}
	return o, nil
}
