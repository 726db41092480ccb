package nar_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/nar"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// makeTree makes a tree of a few files: a, b/inner, c.
func makeTree(t testing.TB) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "tree")
	must(t, os.MkdirAll(root+"/b", 0o755))
	for _, name := range []string{"a", "b/inner", "c"} {
		must(t, os.WriteFile(filepath.Join(root, name), []byte("contents of "+name), 0o644))
	}
	return root
}

func TestDumpSpecialFiles(t *testing.T) {
	for kind, make := range map[string]func(path string){
		"FIFO": func(path string) { must(t, unix.Mkfifo(path, 0o644)) },
		"socket": func(path string) {
			l, err := net.Listen("unix", path)
			must(t, err)
			t.Cleanup(func() { l.Close() })
		},
		"character device": func(path string) {
			if err := unix.Mknod(path, unix.S_IFCHR|0o644, int(unix.Mkdev(1, 3))); err != nil {
				t.Skipf("cannot make a device: %v", err)
			}
		},
	} {
		t.Run(kind, func(t *testing.T) {
			root := makeTree(t)
			path := filepath.Join(root, "b/special")
			make(path)
			for _, top := range []string{root, path} {
				_, err := nar.Dump(context.Background(), io.Discard, top)
				var where *fs.PathError
				if !errors.Is(err, nar.ErrSpecialFile) || !errors.As(err, &where) || where.Path != path || !strings.Contains(err.Error(), kind) {
					t.Errorf("%s: %v", top, err)
				}
			}
		})
	}
}

func TestDumpOfNothing(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "none"), ""} {
		if _, err := nar.Dump(context.Background(), io.Discard, path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", path, err)
		}
		if _, err := nar.ListTree(context.Background(), path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// The path itself may be a symlink too, and is not followed.
func TestDumpFollowsNothing(t *testing.T) {
	root := makeTree(t)
	link := filepath.Join(filepath.Dir(root), "link")
	must(t, os.Symlink("tree", link))
	for _, path := range []string{link, link + "/"} {
		var b bytes.Buffer
		_, err := nar.Dump(context.Background(), &b, path)
		must(t, err)
		e, err := nar.NewReader(&b).Next()
		if err != nil || e.Type != nar.Symlink || e.Target != "tree" {
			t.Errorf("%+v, %v", e, err)
		}
	}
}

func TestDumpAt(t *testing.T) {
	root := makeTree(t)
	dir, err := os.Open(root)
	must(t, err)
	defer dir.Close()
	for name, path := range map[string]string{".": root, "b": root + "/b", "a": root + "/a"} {
		var at, by bytes.Buffer
		_, err := nar.DumpAt(context.Background(), &at, int(dir.Fd()), name)
		must(t, err)
		_, err = nar.Dump(context.Background(), &by, path)
		must(t, err)
		if !bytes.Equal(at.Bytes(), by.Bytes()) {
			t.Errorf("%s differs", name)
		}
	}
}

// Only the owner's permission makes a file executable.
func TestDumpExecutable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, nil, 0o644))
	for mode, want := range map[os.FileMode]bool{0o400: false, 0o655: false, 0o500: true, 0o744: true, 0o755 | os.ModeSetuid: true} {
		must(t, os.Chmod(path, mode))
		l, err := nar.ListTree(context.Background(), path)
		must(t, err)
		if l.Root.Executable != want {
			t.Errorf("%v: executable is %v", mode, l.Root.Executable)
		}
	}
}

// A tree that changes under the dump is an error, never an archive that is wrong, and never a way out of the tree.
func TestDumpOfChangingTree(t *testing.T) {
	for name, change := range map[string]func(root string) error{
		"grows":             func(root string) error { return os.WriteFile(root+"/a", bytes.Repeat([]byte("x"), 1<<20), 0o644) },
		"grows by one byte": func(root string) error { return os.WriteFile(root+"/a", []byte("contents of a!"), 0o644) },
		"shrinks":           func(root string) error { return os.Truncate(root+"/a", 1) },
		"empties":           func(root string) error { return os.Truncate(root+"/a", 0) },
		"file becomes a link": func(root string) error {
			return replace(root+"/c", os.Symlink("/etc/passwd", root+"/new"), root+"/new")
		},
		"file becomes a FIFO": func(root string) error { return replace(root+"/c", unix.Mkfifo(root+"/new", 0o644), root+"/new") },
		"directory becomes a link": func(root string) error {
			return errors.Join(os.Rename(root+"/b", root+"/../old"), os.Symlink("/etc", root+"/b"))
		},
		"directory becomes a file": func(root string) error {
			return errors.Join(os.Rename(root+"/b", root+"/../old"), os.WriteFile(root+"/b", nil, 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := makeTree(t)
			d := nar.Dumper{OnEntry: func(e *nar.Entry) error {
				if e.Path == "a" {
					return change(root)
				}
				return nil
			}}
			if _, err := d.Dump(context.Background(), io.Discard, root); !errors.Is(err, nar.ErrChanged) {
				t.Error(err)
			}
		})
	}
}

func replace(path string, err error, by string) error {
	if err != nil {
		return err
	}
	return os.Rename(by, path)
}

func TestDumpPassesErrorsOn(t *testing.T) {
	root := filepath.Join(t.TempDir(), "tree")
	loadTrees(t)["mixed"].build(t, root)
	size, err := nar.Dump(context.Background(), io.Discard, root)
	must(t, err)
	for left := range int(size) {
		if _, err := nar.Dump(context.Background(), &failingWriter{left: left}, root); !errors.Is(err, errBoom) {
			t.Fatalf("after %d bytes: %v", left, err)
		}
	}
	var entries int
	_, err = (&nar.Dumper{OnEntry: func(*nar.Entry) error { entries++; return nil }}).Dump(context.Background(), io.Discard, root)
	must(t, err)
	for i := range entries {
		ctx, cancel := context.WithCancel(context.Background())
		for _, stop := range []func() error{func() error { return errBoom }, func() error { cancel(); return nil }} {
			n := 0
			d := nar.Dumper{OnEntry: func(*nar.Entry) error {
				if n++; n > i {
					return stop()
				}
				return nil
			}}
			_, err := d.Dump(ctx, io.Discard, root)
			if last := i == entries-1 && err == nil; !last && !errors.Is(err, errBoom) && !errors.Is(err, context.Canceled) {
				t.Errorf("stopped at entry %d: %v", i, err)
			}
		}
		cancel()
	}
	if open := openDescriptors(t, filepath.Dir(root)); len(open) > 0 {
		t.Errorf("left open: %v", open)
	}
}

// openDescriptors returns what this process has open below a directory.
func openDescriptors(t testing.TB, dir string) []string {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("needs /proc: %v", err)
	}
	var open []string
	for _, fd := range fds {
		if path, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(path, dir) {
			open = append(open, path)
		}
	}
	return open
}
