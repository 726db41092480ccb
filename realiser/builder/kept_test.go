package builder

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"larder/realiser/userpool"
	"larder/store"
)

// What a builder left becomes the caller's, as far as it was the builder's; its programs do not become the caller's.
func TestGive(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const theirs, caller = 31001, 31002
	parent := t.TempDir()
	builder := userpool.Identity{UID: theirs, GID: theirs, Count: 1}
	s, err := newScratch(parent, "x", builder)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.retain(builder))
	st, err := os.Stat(s.dir)
	must(err)
	if st.Mode().Perm() != 0o710 || st.Sys().(*syscall.Stat_t).Gid != theirs {
		t.Errorf("the builder's user can't pass: %v", st.Mode())
	}
	foreign := filepath.Join(parent, "foreign")
	must(os.WriteFile(foreign, nil, 0o600))
	must(os.Mkdir(filepath.Join(s.build, "d"), 0o700))
	must(os.WriteFile(filepath.Join(s.build, "d", "setuid"), nil, 0o755))
	must(os.Chown(filepath.Join(s.build, "d", "setuid"), theirs, theirs))
	must(os.Chmod(filepath.Join(s.build, "d", "setuid"), os.ModeSetuid|os.ModeSetgid|0o755))
	must(os.Symlink(foreign, filepath.Join(s.build, "symlink")))
	must(os.Link(foreign, filepath.Join(s.build, "link")))
	must(os.Chmod(filepath.Join(s.build, "d"), 0))
	must(os.Chown(filepath.Join(s.build, "d"), theirs, theirs))
	output := filepath.Join(parent, "output")
	must(os.Mkdir(output, 0o555))
	must(os.WriteFile(filepath.Join(output, "f"), nil, 0o444))
	must(s.save(t.Context(), output, "name.check"))
	must(s.save(t.Context(), filepath.Join(parent, "nothing"), "nothing"))
	must(s.give(store.Caller{UID: caller, GID: caller}, builder, true))

	for file, want := range map[string]struct {
		uid  uint32
		mode os.FileMode
	}{
		"":                     {caller, os.ModeDir | 0o700},
		"build":                {caller, os.ModeDir | 0o700},
		"build/d":              {caller, os.ModeDir | 0o700},
		"build/d/setuid":       {caller, 0o755},
		"build/symlink":        {caller, os.ModeSymlink | 0o777},
		"build/link":           {0, 0o600},
		"outputs/name.check":   {caller, os.ModeDir | 0o755},
		"outputs/name.check/f": {caller, 0o444},
	} {
		st, err := os.Lstat(filepath.Join(s.dir, file))
		if err != nil {
			t.Error(err)
			continue
		}
		if uid := st.Sys().(*syscall.Stat_t).Uid; uid != want.uid || st.Mode() != want.mode {
			t.Errorf("%s belongs to %d with mode %v, want %d and %v", file, uid, st.Mode(), want.uid, want.mode)
		}
	}
	if st, err := os.Stat(foreign); err != nil || st.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("the file of somebody else was given away: %v", err)
	}
	if _, err := os.Stat(s.tmp); !os.IsNotExist(err) {
		t.Errorf("/tmp was kept: %v", err)
	}
}

// Who gets the directory gets in only when everything in it is settled: otherwise files of root that lie in directories of the caller
// could be moved there, and would be given away.
func TestGiveLetsInLast(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const theirs, caller = 31001, 31002
	builder := userpool.Identity{UID: theirs, GID: theirs, Count: 1}
	s, err := newScratch(t.TempDir(), "x", builder)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.retain(builder); err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		if err := os.WriteFile(filepath.Join(s.build, strconv.Itoa(i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	given := make(chan error, 1)
	go func() { given <- s.give(store.Caller{UID: caller, GID: caller}, builder, true) }()
	for {
		st, err := os.Stat(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		if st.Sys().(*syscall.Stat_t).Uid == caller {
			break
		}
		select {
		case err := <-given:
			if err != nil {
				t.Fatal(err)
			}
			given <- nil
		default:
		}
	}
	for i := range 2000 {
		st, err := os.Stat(filepath.Join(s.build, strconv.Itoa(i)))
		if err != nil || st.Sys().(*syscall.Stat_t).Uid != caller {
			t.Errorf("%d is not settled: %v", i, err)
			break
		}
	}
	if err := <-given; err != nil {
		t.Error(err)
	}
}

func TestMoveTreeToAnotherFileSystem(t *testing.T) {
	from, err := os.MkdirTemp("/dev/shm", "larder-test-")
	if err != nil {
		t.Skipf("there is no second file system: %v", err)
	}
	defer os.RemoveAll(from)
	to := t.TempDir()
	var a, b syscall.Stat_t
	if err := syscall.Stat(from, &a); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Stat(to, &b); err != nil || a.Dev == b.Dev {
		t.Skipf("/dev/shm is on the file system of the temporary directory (%v)", err)
	}
	if err := os.WriteFile(filepath.Join(from, "f"), []byte("text"), 0o755); err != nil {
		t.Fatal(err)
	}
	moved, err := moveTree(t.Context(), from, filepath.Join(to, "copy"))
	if err != nil || !moved {
		t.Fatal(moved, err)
	}
	if text, err := os.ReadFile(filepath.Join(to, "copy", "f")); err != nil || string(text) != "text" {
		t.Errorf("%q %v", text, err)
	}
	if moved, err := moveTree(t.Context(), filepath.Join(from, "nothing"), filepath.Join(to, "nothing")); moved || err != nil {
		t.Error(moved, err)
	}
}
