package tree_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"larder/nar/tree"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func gone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%s is still there: %v", path, err)
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(dir, "outside")
	must(t, os.Mkdir(outside, 0o755))
	must(t, os.WriteFile(filepath.Join(outside, "precious"), nil, 0o644))

	top := filepath.Join(dir, "top")
	for i := range 300 {
		must(t, os.MkdirAll(filepath.Join(top, strconv.Itoa(i), "sub"), 0o755))
		must(t, os.WriteFile(filepath.Join(top, strconv.Itoa(i), "file"), []byte("x"), 0o444))
	}
	must(t, os.Symlink(outside, filepath.Join(top, "link")))
	must(t, os.Symlink("..", filepath.Join(top, "up")))
	for i := range 300 {
		must(t, os.Chmod(filepath.Join(top, strconv.Itoa(i)), 0))
	}
	must(t, tree.Remove(context.Background(), top))
	gone(t, top)
	if _, err := os.Lstat(filepath.Join(outside, "precious")); err != nil {
		t.Fatal("a symlink was followed:", err)
	}
	must(t, tree.Remove(context.Background(), top))
	must(t, tree.Remove(context.Background(), filepath.Join(top, "nor", "its", "parent")))
}

func TestRemoveSymlinkItself(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink(dir, filepath.Join(dir, "link")))
	must(t, tree.Remove(context.Background(), filepath.Join(dir, "link")))
	gone(t, filepath.Join(dir, "link"))
}

// Deeper than PATH_MAX allows to name, and than descriptors may be open.
func TestRemoveDeepTree(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	for range 3000 {
		must(t, unix.Mkdirat(fd, "deep", 0o755))
		next, err := unix.Openat(fd, "deep", unix.O_PATH|unix.O_DIRECTORY, 0)
		must(t, err)
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	must(t, tree.Remove(context.Background(), filepath.Join(dir, "deep")))
	gone(t, filepath.Join(dir, "deep"))
}

func TestFreedCountsTheLastLink(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a"), make([]byte, 1<<20), 0o644))
	must(t, os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")))
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	defer unix.Close(fd)
	first, err := tree.RemoveAt(context.Background(), fd, "a")
	must(t, err)
	last, err := tree.RemoveAt(context.Background(), fd, "b")
	must(t, err)
	if first != 0 || last < 1<<20 {
		t.Fatalf("freed %d with the first link and %d with the last", first, last)
	}
}

func TestRemoveCanBeCancelled(t *testing.T) {
	top := filepath.Join(t.TempDir(), "top")
	must(t, os.MkdirAll(filepath.Join(top, "sub"), 0o755))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := tree.Remove(ctx, top); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	must(t, tree.Remove(context.Background(), top))
	gone(t, top)
}

// Whoever moves a directory away while a walk is deep below it does not lead the walk elsewhere.
func TestStackNoticesAMove(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "elsewhere"), 0o755))
	var s tree.Stack
	defer s.Close()
	fd, err := unix.Open(dir, tree.DirFlags, 0)
	must(t, err)
	must(t, s.Push(fd))
	for range 40 {
		must(t, unix.Mkdirat(s.Top(), "d", 0o755))
		fd, err := tree.OpenAt(s.Top(), "d", tree.DirFlags, 0)
		must(t, err)
		must(t, s.Push(fd))
	}
	must(t, os.Rename(filepath.Join(dir, "d/d/d/d"), filepath.Join(dir, "elsewhere/d")))
	for s.Depth() > 1 {
		if err = s.Pop(); err != nil {
			break
		}
	}
	if !errors.Is(err, tree.ErrMoved) {
		t.Fatalf("got %v, want %v", err, tree.ErrMoved)
	}
}

// A signal may end getdents(2) early, so that what it returns looks like an empty directory.
func TestRemoveUnderSignals(t *testing.T) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Kill(os.Getpid(), unix.SIGURG) // which Go's runtime sends itself
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	for range 5 {
		top := filepath.Join(t.TempDir(), "top")
		for i := range 200 {
			must(t, os.MkdirAll(filepath.Join(top, strconv.Itoa(i), "a", "b", "c"), 0o755))
		}
		must(t, tree.Remove(context.Background(), top))
		gone(t, top)
	}
}
