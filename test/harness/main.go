// Package harness lets tests drive the real larder program: on real mounts, in
// real sandboxes, with a real binary cache on loopback.
//
// Only tests may import it. A package of tests has
//
//	func TestMain(m *testing.M) { harness.Main(m) }
//
// and then makes a [Site] for each store that it wants: a scratch directory with a
// configuration, in which the test mounts, runs commands and starts programs that
// touch the mount. A [Cache] is a binary cache in the test itself, which can be made
// to stall and to lie. A [Gate] holds builders up until the test lets them go on.
//
// # Nothing is left
//
// As root the tests run in a mount namespace and a PID namespace of their own. When
// they end, however they end, the kernel kills every process they started and takes
// away every mount. What is done to /dev/fuse and /etc/passwd for a plain user stays in
// there too. Someone else than root runs them as they are, and skips what needs root.
//
// # Waiting
//
// Tests wait for conditions ([Eventually], [Site.AwaitWaiters], [Gate.AwaitReached]), never for time, and for none longer
// than [Patience].
//
// # Traps
//
//   - A test must not look into a mount by itself, or what hangs there hangs the test. It starts a process that does,
//     see [Site.Touch]. Not even to execute something in the mount: Go's fork holds up the whole process, and with
//     it the cache that the mount is waiting for. [Site.Start] is for programs that are elsewhere.
//   - Subtests use [Site.In], since a failure must be told to the test that runs.
package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const baseEnv = "LARDER_TEST_BASE" // the scratch directory of all tests; set in the process that runs them

// base is the scratch directory of all tests of this process.
var base string

// Main runs the tests and exits.
func Main(m *testing.M) {
	if base = os.Getenv(baseEnv); base != "" {
		if err := enter(); err != nil {
			fmt.Fprintln(os.Stderr, "harness:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	status, err := outside(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		status = 1
	}
	os.Exit(status)
}

// outside makes the scratch directory, has the tests run, and removes it when everything that used it has gone.
func outside(m *testing.M) (status int, err error) {
	if base, err = os.MkdirTemp("", "larder-test"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, removeTree(base)) }()
	if err := os.Chmod(base, 0o755); err != nil { // a plain user looks in, too
		return 0, err
	}
	if err := build(filepath.Join(base, "bin")); err != nil {
		return 0, err
	}
	if os.Geteuid() != 0 {
		return m.Run(), nil
	}
	runtime.LockOSThread() // Pdeathsig is about this thread
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), baseEnv+"="+base)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// build builds the programs.
func build(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-o", dir+"/", "./cmd/larder", "./fusefs/testdata/toucher", "./test/harness/testdata/stormy")
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building larder: %w", err)
	}
	return nil
}

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// enter prepares the namespaces that this process was started in.
func enter() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	return nil
}

// removeTree removes what lies at a path, read-only directories as well, which store objects are.
func removeTree(dir string) error {
	if os.Geteuid() != 0 {
		err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				return os.Chmod(name, 0o755)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}
