package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotMounted says that no store is mounted at a directory.
var ErrNotMounted = errors.New("no store is mounted there")

// errBusy says that somebody has a file or directory of the mount in use.
var errBusy = errors.New("busy")

const (
	retryBusy    = 50 * time.Millisecond
	probeTimeout = 2 * time.Second
)

// Unmount removes the mount at dir. While it is in use it tries again until
// grace is over or ctx ends; then it detaches the mount, which always works: the
// directory is free, and those who still use the mount get an error as soon
// as the daemon has noticed. Detached says that it came to this.
func Unmount(ctx context.Context, dir string, grace time.Duration) (detached bool, err error) {
	dir, err = realDir(dir)
	if err != nil {
		return false, err
	}
	m, found, err := top(dir)
	if err != nil {
		return false, err
	}
	if !found || m.fsType != fsType {
		return false, fmt.Errorf("%s: %w", dir, ErrNotMounted)
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for {
		err := unmount(dir, 0)
		if !errors.Is(err, errBusy) {
			return false, err
		}
		select {
		case <-ctx.Done():
			return true, unmount(dir, unix.MNT_DETACH)
		case <-time.After(retryBusy):
		}
	}
}

// unmount removes the uppermost mount at dir, with flags of umount2(2).
func unmount(dir string, flags int) error {
	if os.Geteuid() == 0 {
		switch err := unix.Unmount(dir, flags|unix.UMOUNT_NOFOLLOW); {
		case err == nil:
			return nil
		case errors.Is(err, unix.EBUSY):
			return fmt.Errorf("unmount %s: %w", dir, errBusy)
		default:
			return &os.PathError{Op: "unmount", Path: dir, Err: err}
		}
	}
	how := "-u"
	if flags&unix.MNT_DETACH != 0 {
		how = "-uz"
	}
	cmd, err := fusermount(how, "--", dir)
	if err != nil {
		return err
	}
	err = runHelper(cmd)
	var exit *exec.ExitError
	if flags&unix.MNT_DETACH == 0 && errors.As(err, &exit) {
		// The helper tells reasons in words only. If the mount is still ours to
		// remove it can but be busy.
		if m, found, err := top(dir); err == nil && found && m.fsType == fsType {
			return fmt.Errorf("unmount %s: %w", dir, errBusy)
		}
	}
	return err
}

// CleanDead detaches mounts of stores at dir whose daemon is gone. One that
// is alive, or does not answer, is an error that says so.
func CleanDead(dir string) error {
	dir, err := realDir(dir)
	if err != nil {
		return err
	}
	for {
		m, found, err := top(dir)
		if err != nil {
			return err
		}
		if !found || m.fsType != fsType {
			return nil
		}
		switch err := probe(dir); {
		case err == nil:
			return fmt.Errorf("a store is mounted at %s already", dir)
		case !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ECONNABORTED):
			return fmt.Errorf("a store is mounted at %s, but its daemon does not answer: %w", dir, err)
		}
		if err := unmount(dir, unix.MNT_DETACH); err != nil {
			return err
		}
	}
}

// probe asks the mount at dir for something that cannot be answered from a cache.
// When the daemon hangs, the goroutine hangs with it.
func probe(dir string) error {
	result := make(chan error, 1)
	go func() {
		var st unix.Statfs_t
		result <- unix.Statfs(dir, &st)
	}()
	select {
	case err := <-result:
		return err
	case <-time.After(probeTimeout):
		return os.ErrDeadlineExceeded
	}
}

// realDir makes a path absolute and free of symlinks without touching what is
// mounted at its end, which may be dead or hang.
func realDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if _, found, err := top(dir); err != nil || found {
		return dir, err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return "", err
	}
	at := filepath.Join(parent, filepath.Base(dir))
	if _, found, err := top(at); err != nil || found {
		return at, err
	}
	return filepath.EvalSymlinks(at)
}
