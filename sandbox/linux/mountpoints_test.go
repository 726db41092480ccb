package linux_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"larder/sandbox"
	"larder/sandbox/linux"
)

// TestMountPointsKept: they serve the next build, and the next Runner, and never show what is in them.
func TestMountPointsKept(t *testing.T) {
	newRunner(t) // skips where builds cannot run at all
	everyIdentity(t, func(t *testing.T) {
		objects, points := t.TempDir(), filepath.Join(t.TempDir(), "points")
		must(t, os.Chmod(objects, 0o755))
		must(t, os.MkdirAll(filepath.Join(objects, "a"), 0o755))
		must(t, os.WriteFile(filepath.Join(objects, "b"), []byte("b\n"), 0o644))
		must(t, os.Symlink("a", filepath.Join(objects, "c")))
		build := func(r *linux.Runner, names ...string) {
			t.Helper()
			s := newSpec(t, "ls -1 /nix/store; cat /nix/store/b; echo made > /nix/store/out")
			for _, name := range names {
				s.Mounts = append(s.Mounts, sandbox.Mount{Source: filepath.Join(objects, name), Target: "/nix/store/" + name})
			}
			if result, err := r.Run(deadline(t), s, io.Discard); err != nil || !result.Success() {
				t.Fatal(result, err)
			}
			left, err := filepath.Glob(s.BuildStore + "/*")
			if err != nil || len(left) != 1 || filepath.Base(left[0]) != "out" {
				t.Fatalf("left in the build store: %q, %v", left, err)
			}
		}
		kept := func() (dirs, files int) {
			entries, err := os.ReadDir(points)
			must(t, err)
			for _, e := range entries {
				if e.IsDir() {
					dirs++
				} else {
					files++
				}
			}
			return
		}
		for range 2 {
			r, err := linux.New(linux.Options{MountPoints: points})
			must(t, err)
			build(r, "a", "b", "c")
			build(r, "b")
			build(r, "a", "b")
			must(t, r.Close())
			if dirs, files := kept(); dirs != 1 || files != 1 {
				t.Fatalf("kept %d directories and %d files, want one of each", dirs, files)
			}
		}
	})
}

// TestMountPointsElsewhere: a directory on another file system does no harm.
func TestMountPointsElsewhere(t *testing.T) {
	newRunner(t)
	shm, err := os.MkdirTemp("/dev/shm", "larder-test-*")
	if err != nil {
		t.Skipf("needs a second file system at /dev/shm: %v", err)
	}
	defer os.RemoveAll(shm)
	must(t, os.Mkdir(filepath.Join(shm, "0"), 0o755))
	r, err := linux.New(linux.Options{MountPoints: shm})
	must(t, err)
	defer r.Close()
	dep := filepath.Join(t.TempDir(), "dep")
	must(t, os.Mkdir(dep, 0o755))
	for range 2 {
		s := newSpec(t, "[ -d /nix/store/dep ]")
		s.Mounts = append(s.Mounts, sandbox.Mount{Source: dep, Target: "/nix/store/dep"})
		if result, err := r.Run(deadline(t), s, io.Discard); err != nil || !result.Success() {
			t.Fatal(result, err)
		}
	}
}
