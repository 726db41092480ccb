package builder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"larder/nar/tree"
	"larder/realiser/userpool"
)

const (
	scratchPrefix = "larder-build-"
	keptPrefix    = "larder-failed-"
)

// scratch is the temporary space of one build, outside of the store. It is
// locked while it is in use, so that what a killed process left can be told from
// what another one needs.
type scratch struct {
	dir   string   // holds the others; closed to other users, whom a builder could let in
	lock  *os.File // dir, with a lock (flock)
	build string   // the builder's working directory
	tmp   string   // its /tmp

	retained   bool   // it is going to be kept
	outputs    string // of what is kept
	hasOutputs bool
}

// newScratch makes the directories below parent. They belong to the user that
// will build, who sees them through the sandbox only.
func newScratch(parent, name string, user userpool.Identity) (s *scratch, err error) {
	dir, err := os.MkdirTemp(parent, scratchPrefix+name+"-")
	if err != nil {
		return nil, fmt.Errorf("build directory: %w", err)
	}
	s = &scratch{dir: dir, build: filepath.Join(dir, "build"), tmp: filepath.Join(dir, "tmp")}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("build directory: %w", err), s.remove())
		}
	}()
	if s.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(s.build, 0o700); err != nil {
		return nil, err
	}
	if err := os.Mkdir(s.tmp, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(s.tmp, fs.ModeSticky|0o777); err != nil {
		return nil, err
	}
	return s, user.Own(s.build)
}

// lockDir opens a directory and locks it, or fails if another process has.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "flock", Path: dir, Err: err}
	}
	return f, nil
}

// remove removes everything. No builder may be running any more.
func (s *scratch) remove() error {
	err := tree.Remove(context.Background(), s.dir)
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

// sweepScratch removes what builds of processes that are no more left below
// parent.
func sweepScratch(parent string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), scratchPrefix) {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		lock, err := lockDir(dir)
		if err != nil {
			continue // in use, or somebody else's
		}
		errs = append(errs, tree.Remove(context.Background(), dir), lock.Close())
	}
	return errors.Join(errs...)
}
