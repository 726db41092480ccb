package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"larder/nar/tree"
)

// LockedError says that another process has the store open.
type LockedError struct {
	StateDir  string
	PID       int    // 0 if the other process has not said
	ObjectDir string // not empty: a store with another state directory keeps its objects there
	BigLock   string // not empty: that store is a Nix's, and this is its lock
}

func (e *LockedError) Error() string {
	if e.BigLock != "" {
		return fmt.Sprintf("the objects in %s belong to a Nix that is at work (it holds %s): let it end first, and stop nix-daemon if it does not",
			e.ObjectDir, e.BigLock)
	}
	if e.ObjectDir != "" {
		return fmt.Sprintf("the objects in %s belong to a store that is in use with another state directory than %s: use that one, or stop it first",
			e.ObjectDir, e.StateDir)
	}
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("the store in %s is in use by %s: talk to that one, or stop it first", e.StateDir, who)
}

// lockFile keeps other processes from opening the same store. The lock is flock(2)'s and dies with the process; the
// number in the file is only there to name the process. Readers share the lock.
type lockFile struct {
	file   *os.File // nil on a read-only file system that has no lock file
	shared bool
}

func takeLock(stateDir string, readOnly bool) (*lockFile, error) {
	path := filepath.Join(stateDir, "db", "lock")
	flags, how := os.O_RDWR|os.O_CREATE, unix.LOCK_EX
	if readOnly {
		flags, how = os.O_RDONLY, unix.LOCK_SH
	}
	f, err := os.OpenFile(path, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o644)
	if readOnly && errors.Is(err, os.ErrNotExist) {
		return &lockFile{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("locking the store: %w", err)
	}
	err = tree.Retry(func() error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer f.Close()
		text, _ := io.ReadAll(io.LimitReader(f, 32))
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text))) // the owner may not have written it yet
		return nil, &LockedError{StateDir: stateDir, PID: pid}
	}
	if err == nil && !readOnly {
		if err = f.Truncate(0); err == nil {
			_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking the store: %s: %w", path, err)
	}
	return &lockFile{file: f, shared: readOnly}, nil
}

// release gives the lock back. The file stays: to remove it would let two processes lock two files of the same name.
func (l *lockFile) release() error {
	if l.file == nil {
		return nil
	}
	var err error
	if !l.shared {
		err = l.file.Truncate(0)
	}
	// To close it is not enough: a child that was just forked has the descriptor, too, until it executes its program.
	unlocked := tree.Retry(func() error { return unix.Flock(int(l.file.Fd()), unix.LOCK_UN) })
	return errors.Join(err, unlocked, l.file.Close())
}

// lockObjects keeps a store with another state directory away from the objects: it would not know them, and sweep what is
// under way. The lock (flock) is on the directory itself, so there is no file to leave behind; where the file system has no
// such locks, there is no protection.
func (s *Store) lockObjects() error {
	err := tree.Retry(func() error { return unix.Flock(s.objects, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return &LockedError{StateDir: s.stateDir, ObjectDir: s.objectDir}
	}
	if err != nil {
		s.log.Debug("the object directory cannot be locked", "dir", s.objectDir, "err", err)
	}
	return nil
}
