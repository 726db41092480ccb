package nar_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"larder/nar"
)

func restore(t testing.TB, data []byte, opt nar.RestoreOptions) (dest string, err error) {
	t.Helper()
	dest = filepath.Join(tempDir(t), "tree")
	_, err = nar.Restore(context.Background(), bytes.NewReader(data), dest, opt)
	return dest, err
}

// This test sets the umask of the process, so it does not run in parallel with others.
func TestRestoreMetadata(t *testing.T) {
	defer unix.Umask(unix.Umask(0o027))
	for _, opt := range []nar.RestoreOptions{{}, {Canonical: true}, {Canonical: true, Sync: true}} {
		dest, err := restore(t, loadGood(t, "mixed"), opt)
		must(t, err)
		want := map[string]fs.FileMode{
			"": fs.ModeDir | 0o750, "bin": fs.ModeDir | 0o750, "bin/tool": 0o750, "bin/link": fs.ModeSymlink | 0o777,
			"dangling": fs.ModeSymlink | 0o777, "empty": 0o640, "share/doc/README": 0o640,
		}
		if opt.Canonical {
			want = map[string]fs.FileMode{
				"": fs.ModeDir | 0o555, "bin": fs.ModeDir | 0o555, "bin/tool": 0o555, "bin/link": fs.ModeSymlink | 0o777,
				"dangling": fs.ModeSymlink | 0o777, "empty": 0o444, "share/doc/README": 0o444,
			}
		}
		for path, mode := range want {
			info, err := os.Lstat(filepath.Join(dest, path))
			must(t, err)
			if info.Mode() != mode {
				t.Errorf("%+v: %q has mode %v, want %v", opt, path, info.Mode(), mode)
			}
			if opt.Canonical && !info.ModTime().Equal(time.Unix(1, 0)) {
				t.Errorf("%+v: %q has time %v", opt, path, info.ModTime())
			}
		}
	}
}

func TestRestoreNeverReplaces(t *testing.T) {
	for kind, make := range map[string]func(dest string) error{
		"file":             func(dest string) error { return os.WriteFile(dest, []byte("mine"), 0o644) },
		"directory":        func(dest string) error { return os.Mkdir(dest, 0o755) },
		"dangling symlink": func(dest string) error { return os.Symlink("outside", dest) },
		"symlink":          func(dest string) error { return os.Symlink(".", dest) },
	} {
		for _, name := range []string{"file", "mixed", "symlink"} {
			parent := t.TempDir()
			dest := filepath.Join(parent, "tree")
			must(t, make(dest))
			before, err := os.Lstat(dest)
			must(t, err)
			_, err = nar.Restore(context.Background(), bytes.NewReader(loadGood(t, name)), dest, nar.RestoreOptions{})
			if !errors.Is(err, fs.ErrExist) {
				t.Errorf("%s over a %s: %v", name, kind, err)
			}
			after, err := os.Lstat(dest)
			must(t, err)
			if !os.SameFile(before, after) || after.Size() != before.Size() || len(readDir(t, parent)) != 1 {
				t.Errorf("%s over a %s changed something", name, kind)
			}
		}
	}
}

func TestRestoreBadDestination(t *testing.T) {
	dir := t.TempDir()
	for _, dest := range []string{filepath.Join(dir, "none/tree"), "/", ".", "..", dir + "/..", filepath.Join(dir, strings.Repeat("n", 256))} {
		_, err := nar.Restore(context.Background(), bytes.NewReader(loadGood(t, "mixed")), dest, nar.RestoreOptions{})
		if err == nil {
			t.Errorf("%q was accepted", dest)
		}
	}
	root, err := os.Open(dir)
	must(t, err)
	defer root.Close()
	for _, name := range []string{"", ".", "..", "a/b", "/a", "a\x00"} {
		if _, err := nar.RestoreAt(context.Background(), bytes.NewReader(loadGood(t, "mixed")), int(root.Fd()), name, nar.RestoreOptions{}); err == nil {
			t.Errorf("name %q was accepted", name)
		}
	}
	if left := readDir(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRestoreTrailing(t *testing.T) {
	one, two := loadGood(t, "mixed"), loadGood(t, "file")
	stream := bufio.NewReader(bytes.NewReader(append(bytes.Clone(one), two...)))
	dir := t.TempDir()
	opt := nar.RestoreOptions{AllowTrailing: true}
	for name, data := range map[string][]byte{"one": one} {
		size, err := nar.Restore(context.Background(), stream, filepath.Join(dir, name), opt)
		if err != nil || size != int64(len(data)) {
			t.Errorf("%s: %d bytes, %v", name, size, err)
		}
	}
	if size, err := nar.Restore(context.Background(), stream, filepath.Join(dir, "two"), nar.RestoreOptions{}); err != nil || size != int64(len(two)) {
		t.Errorf("two: %d bytes, %v", size, err)
	}
}

// Whatever goes wrong, and wherever: the error comes out, and nothing stays.
func TestRestoreLeavesNothing(t *testing.T) {
	data := loadGood(t, "mixed")
	parent := tempDir(t)
	dest := filepath.Join(parent, "tree")
	check := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		if left := readDir(t, parent); len(left) > 0 {
			t.Fatalf("%s: left behind: %v", what, left)
		}
		if open := openDescriptors(t, parent); len(open) > 0 {
			t.Fatalf("%s: left open: %v", what, open)
		}
	}
	opt := nar.RestoreOptions{Canonical: true}
	for i := range len(data) + 1 {
		for _, broken := range []error{errBoom, io.ErrUnexpectedEOF} {
			r := io.MultiReader(bytes.NewReader(data[:i]), iotest.ErrReader(broken))
			_, err := nar.Restore(context.Background(), r, dest, opt)
			check(fmt.Sprintf("stream broken after %d bytes", i), err, broken)
		}
	}
	for i := range 9 {
		n := 0
		opt.OnEntry = func(*nar.Entry) error {
			if n++; n > i {
				return errBoom
			}
			return nil
		}
		_, err := nar.Restore(context.Background(), bytes.NewReader(data), dest, opt)
		check(fmt.Sprintf("refused after %d entries", i), err, errBoom)

		n = 0
		ctx, cancel := context.WithCancel(context.Background())
		opt.OnEntry = func(*nar.Entry) error {
			if n++; n > i {
				cancel()
			}
			return nil
		}
		_, err = nar.Restore(ctx, bytes.NewReader(data), dest, opt)
		check(fmt.Sprintf("cancelled after %d entries", i), err, context.Canceled)
	}
}

// A large tree is removed too: many files, many directories, many levels, all without the right to write.
func TestRestoreRemovesLargeTrees(t *testing.T) {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	must(t, w.WriteEntry(&nar.Entry{Type: nar.Directory}))
	for i := range 900 {
		e := nar.Entry{Path: fmt.Sprintf("%06d", i), Type: nar.Type(i%3) + nar.Regular}
		if e.Type == nar.Symlink {
			e.Target = "/"
		}
		must(t, w.WriteEntry(&e))
		if e.Type == nar.Directory {
			must(t, w.WriteEntry(&nar.Entry{Path: e.Path + "/" + strings.Repeat("n", 200), Type: nar.Regular}))
		}
	}
	must(t, w.Close())
	for name, data := range map[string][]byte{"wide": b.Bytes(), "deep": rawChain(nar.MaxDepth, "d"), "long": rawChain(200, strings.Repeat("n", 200))} {
		asPlainOwner(t, func() {
			dest, err := restore(t, append(bytes.Clone(data), 0), nar.RestoreOptions{Canonical: true})
			var malformed *nar.FormatError
			if !errors.As(err, &malformed) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := os.Lstat(dest); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: still there: %v", name, err)
			}
		})
	}
}

// inThread runs work in a thread of its own that prepare may spoil: it ends with the work.
func inThread(t *testing.T, prepare func() error, work func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good
		if err := prepare(); err != nil {
			done <- err
			return
		}
		work()
	}()
	if err := <-done; err != nil {
		t.Skip(err)
	}
}

// asPlainOwner runs work without the right to override permissions, which root has and a plain user has not.
func asPlainOwner(t *testing.T, work func()) {
	t.Helper()
	inThread(t, func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		if err := unix.Capget(&header, &caps[0]); err != nil {
			return fmt.Errorf("capget: %w", err)
		}
		caps[0].Effective &^= 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER
		return unix.Capset(&header, &caps[0])
	}, work)
}

// Depth and length of paths are bounded neither by descriptors nor by PATH_MAX.
func TestDeepTrees(t *testing.T) {
	for name, data := range map[string][]byte{
		"deep":    rawChain(nar.MaxDepth, "d"),
		"long":    rawChain(nar.MaxPath/201, strings.Repeat("n", 200)),
		"shallow": rawChain(40, "d"),
	} {
		parent := t.TempDir()
		most := 0
		count := func(e *nar.Entry) error {
			if depth := strings.Count(e.Path, "/"); depth%100 == 99 || depth < 50 {
				most = max(most, len(openDescriptors(t, parent)))
			}
			return nil
		}
		dest := filepath.Join(parent, "tree")
		_, err := nar.Restore(context.Background(), bytes.NewReader(data), dest, nar.RestoreOptions{OnEntry: count})
		must(t, err)
		var b bytes.Buffer
		_, err = (&nar.Dumper{OnEntry: count}).Dump(context.Background(), &b, dest)
		must(t, err)
		if !bytes.Equal(b.Bytes(), data) {
			t.Errorf("%s: Restore to Dump differs", name)
		}
		if most < 20 || most > 50 {
			t.Errorf("%s: %d directories open at once", name, most)
		}
		// One more directory around it is too much for the deepest.
		outer := filepath.Join(parent, "outer")
		must(t, os.Mkdir(outer, 0o755))
		must(t, os.Rename(dest, filepath.Join(outer, "d")))
		if _, err := nar.Dump(context.Background(), io.Discard, outer); (err != nil) != (name == "deep") {
			t.Errorf("%s in another directory: %v", name, err)
		}
	}
}

// Someone exchanges directories for symlinks while they are being filled: nothing is written, or removed, elsewhere.
func TestRestoreStaysInside(t *testing.T) {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	for _, e := range []nar.Entry{
		{Type: nar.Directory}, {Path: "a", Type: nar.Directory}, {Path: "a/a", Type: nar.Directory},
		{Path: "a/a/x", Type: nar.Regular}, {Path: "a/b", Type: nar.Regular}, {Path: "b", Type: nar.Regular},
	} {
		must(t, w.WriteEntry(&e))
	}
	must(t, w.Close())
	for _, data := range [][]byte{b.Bytes(), append(bytes.Clone(b.Bytes()), 0)} {
		for _, at := range []string{"a/a", "a/a/x", "a/b", "b"} {
			for _, victim := range []string{"a", "a/a"} {
				parent, outside := tempDir(t), t.TempDir()
				must(t, os.WriteFile(outside+"/precious", nil, 0o644))
				must(t, os.Mkdir(outside+"/a", 0o755))
				dest := filepath.Join(parent, "tree")
				opt := nar.RestoreOptions{OnEntry: func(e *nar.Entry) error {
					if path := filepath.Join(dest, victim); e.Path == at && e.Path != victim {
						return errors.Join(os.Rename(path, parent+"/moved"), os.Symlink(outside, path))
					}
					return nil
				}}
				// It may succeed or fail; what counts is what it touched.
				_, _ = nar.Restore(context.Background(), bytes.NewReader(data), dest, opt)
				if left := readDir(t, outside); len(left) != 2 || len(readDir(t, outside+"/a")) != 0 {
					t.Errorf("at %q, %q exchanged: outside are %v", at, victim, left)
				}
			}
		}
	}
}

// A directory that is moved away while the work is deep below it is noticed.
func TestMovedDirectory(t *testing.T) {
	const depth = 200
	bottom := strings.TrimPrefix(strings.Repeat("/d", depth-1), "/")
	parent := t.TempDir()
	dest := filepath.Join(parent, "tree")
	move := func(e *nar.Entry) error {
		if e.Path == bottom {
			return os.Rename(dest+"/d/d/d", parent+"/moved")
		}
		return nil
	}
	data := rawChain(depth, "d")
	_, err := nar.Restore(context.Background(), bytes.NewReader(data), dest, nar.RestoreOptions{OnEntry: move})
	if err == nil {
		t.Error("Restore noticed nothing")
	}
	must(t, os.RemoveAll(parent+"/moved"))
	_, err = nar.Restore(context.Background(), bytes.NewReader(data), dest, nar.RestoreOptions{})
	must(t, err)
	if _, err := (&nar.Dumper{OnEntry: move}).Dump(context.Background(), io.Discard, dest); !errors.Is(err, nar.ErrChanged) {
		t.Errorf("Dump: %v", err)
	}
}

// A full disk is reported as such, and nothing stays.
func TestRestoreDiskFull(t *testing.T) {
	dir := t.TempDir()
	inThread(t, func() error {
		// In a mount namespace of the thread's own, so that nothing has to be unmounted.
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("cannot make a mount namespace: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("cannot make mounts private: %w", err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
			return fmt.Errorf("cannot mount a small file system: %w", err)
		}
		return nil
	}, func() {
		dest := filepath.Join(dir, "tree")
		_, err := nar.Restore(context.Background(), bytes.NewReader(loadGood(t, "content-64k-plus-1")), dest, nar.RestoreOptions{})
		var where *fs.PathError
		if !errors.Is(err, syscall.ENOSPC) || !errors.As(err, &where) || where.Path != dest {
			t.Error(err)
		}
		if left := readDir(t, dir); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}
