// Package ids gives tests user ids to build as.
//
// User ids are the whole machine's, and whoever may use one kills all that runs under it before a build begins. So the
// daemons of a machine look for their locks in one directory, /nix/var/nix; see package userpool. A test that did so, too,
// would leave lock files there. It gets a [Range] instead, of ids that are no daemon's and no other test's, and a directory
// for the locks that goes when the test ends. A test beside real Nix needs the machine's directory, by [Machine].
//
// Only tests may import it.
package ids

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Range is a range of ids, and where their locks are.
type Range struct {
	Dir          string // setting userpool-dir
	Start, Count int    // settings start-id and id-count
}

const (
	first = 1 << 30 // Nix's and Larder's own end far below
	size  = 16 << 16
	most  = 1 << 10
)

// New reserves a range until the test and its subtests have ended. What builds as one of the ids must end before: call New first.
func New(t testing.TB) Range {
	t.Helper()
	for n := range most {
		// An abstract socket is one process's, leaves nothing in the file system, and is gone when the process has died.
		l, err := net.Listen("unix", fmt.Sprintf("@larder-test-ids-%d", n))
		if errors.Is(err, unix.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return Range{Dir: t.TempDir(), Start: first + n*size, Count: size}
	}
	t.Fatalf("ids: all %d ranges are reserved", most)
	return Range{}
}

// Settings are those of larder.conf with which a daemon uses the range.
func (r Range) Settings() [][2]string {
	return [][2]string{{"userpool-dir", r.Dir}, {"start-id", strconv.Itoa(r.Start)}, {"id-count", strconv.Itoa(r.Count)}}
}

// Lines are the Settings as lines of larder.conf.
func (r Range) Lines() string {
	var b strings.Builder
	for _, s := range r.Settings() {
		fmt.Fprintf(&b, "%s = %s\n", s[0], s[1])
	}
	return b.String()
}

// Machine is the directory in which all who build on this machine have their locks, as userpool-dir. When the test has
// ended, lock files of members of a group that were not there before it are removed, if nobody holds them.
func Machine(t testing.TB) string {
	t.Helper()
	const machine = "/nix/var/nix"
	dir := filepath.Join(machine, "userpool")
	before := map[string]bool{}
	for _, name := range names(t, dir) {
		before[name] = true
	}
	_, err := os.Stat(dir)
	made := errors.Is(err, os.ErrNotExist)
	t.Cleanup(func() {
		for _, name := range names(t, dir) {
			if !before[name] {
				removeUnlocked(t, filepath.Join(dir, name))
			}
		}
		if made {
			_ = os.Remove(dir) // unless another test has locks there
		}
	})
	return machine
}

func names(t testing.TB, dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// removeUnlocked removes a lock file unless somebody holds the lock.
func removeUnlocked(t testing.TB, path string) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return // by another test
	}
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
