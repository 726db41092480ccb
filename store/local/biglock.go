package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"larder/nar/tree"
)

// Nix processes share a lock (flock) on db/big-lock of their state directory for as long as they have the store open. If the
// objects lie in the store of a Nix, Larder takes that lock for itself: Nix processes wait until it ends, and it does not begin while
// one is at work, that may be collecting as garbage what it does not know of. Decision 0034.

// bigLockOf is where the lock of a Nix would be whose store is this object directory: /nix/store, /nix/var/nix/db/big-lock.
func bigLockOf(objectDir string) string {
	return filepath.Join(filepath.Dir(objectDir), "var", "nix", "db", "big-lock")
}

// takeBigLock keeps Nix away from the objects. Nil without an error: there is no Nix.
func takeBigLock(objectDir, stateDir string, readOnly bool) (*os.File, error) {
	path := bigLockOf(objectDir)
	how := unix.LOCK_EX
	if readOnly {
		how = unix.LOCK_SH // as any Nix process
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case readOnly && errors.Is(err, os.ErrPermission):
		return nil, nil // Nix may look without the lock, too
	case err != nil:
		return nil, fmt.Errorf("keeping Nix away from %s: %w", objectDir, err)
	}
	err = tree.Retry(func() error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) })
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, &LockedError{StateDir: stateDir, ObjectDir: objectDir, BigLock: path}
	}
	return nil, fmt.Errorf("keeping Nix away from %s: lock %s: %w", objectDir, path, err)
}

// releaseBigLock gives the lock back. As in lockFile.release, to close it is not enough.
func releaseBigLock(f *os.File) error {
	if f == nil {
		return nil
	}
	unlocked := tree.Retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) })
	return errors.Join(unlocked, f.Close())
}
