package builder

import (
	"fmt"
	"os"
	"time"

	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
)

// Builder runs builders. Its methods may be called concurrently.
type Builder struct {
	opt   Options
	store Store
	dir   store.Dir
}

// New makes the directory of the build directories, and removes what killed
// processes left in it.
func New(o Options) (*Builder, error) {
	if err := os.MkdirAll(o.BuildDir, 0o700); err != nil {
		return nil, fmt.Errorf("build directory: %w", err)
	}
	if err := letThrough(o.BuildDir); err != nil {
		return nil, fmt.Errorf("build directory: %w", err)
	}
	if err := sweepScratch(o.BuildDir); err != nil {
		o.Logger.Warn("what is left of an earlier build could not be removed", "err", err)
	}
	return &Builder{opt: o, store: o.Store, dir: o.Store.Dir()}, nil
}

// Job is one build that is asked for.
type Job struct {
	Path    store.StorePath // of the derivation
	Drv     *derivation.Derivation
	Asks    *derivation.Options        // what Drv asks for
	Inputs  []store.StorePath          // the closure that the builder sees
	Outputs map[string]store.StorePath // where the builder makes each of its outputs
	Absent  map[string]store.StorePath // those that are going to be registered
	Corrupt map[string]store.StorePath // valid ones too, but damaged: they are replaced by what the builder makes
	// Check is what is known of outputs that are valid. If it is not nil, what the builder makes is only compared with them.
	Check   map[string]*store.PathInfo
	Rounds  int          // how often the builder runs, to compare what it makes; 0: once
	Keep    bool         // leave the directory of a failed build
	For     store.Caller // to whom
	LogPath string       // where the log is going to be, compressed if it ends in CompressedLog; "": nowhere
	Watch   Watch
}

// Watch is told how a build goes. Its functions must not wait.
type Watch struct {
	Log     func(*Log)        // the log has begun, or (nil) has ended
	Line    func(line string) // a line of the log
	Message func(*Message)    // a line of the log that is a message
	Waiting func(what string) // the build waits for something that others hold
	Round   func(n, of int)   // the first, second … of several rounds begins
	Started func()            // the builder is about to run
	Ended   func()            // the builder exited with 0
}

// Result is what became of a build. It is there also when the build failed. If it
// did not, the build's user is in use until Register, which must follow.
type Result struct {
	// When the builder ran and what it used; zero if it did not run.
	Start, Stop        time.Time
	CPUUser, CPUSystem time.Duration
	// Outputs are ready to be registered.
	Outputs []*Output

	confirmed []*store.PathInfo // valid outputs that the builder made once more, equal
	build     *build
}

// Output is an output that has left the builder's store directory.
type Output struct {
	Name string
	Info *store.PathInfo

	temp string // its temporary name in the object directory
	// mentions are the paths whose hash parts occur in it, as it was made.
	mentions []store.StorePath
	content  store.Hash // of its content address, if that was taken in the same pass
	// mismatch: it is not what a fixed-output derivation promised, and Info.Path is
	// the path that it has a right to.
	mismatch *result.HashMismatchError
}

// discard removes outputs that are not going to be registered.
func (r *Result) discard() {
	for _, o := range r.Outputs {
		if err := r.build.store.DropTemp(o.temp); err != nil {
			r.build.opt.Logger.Warn("a rejected output could not be removed", "path", o.Info.Path.String(), "err", err)
		}
	}
	r.Outputs = nil
}
