package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"larder/nar"
	"larder/store"
	"larder/store/local"
)

// tree registers an object with files of the given contents, "file0", "file1"…, and returns its NAR.
func (f *fixture) tree(name string, files ...string) []byte {
	f.t.Helper()
	a := f.treeAt(name, files...)
	archive := f.dump(a.Temp)
	a.Info.NarHash, a.Info.NarSize = store.SHA256.Sum(archive), uint64(len(archive))
	check(f.t, f.Register(context.Background(), a))
	return archive
}

func (f *fixture) treeAt(name string, files ...string) store.Addition {
	f.t.Helper()
	temp, err := f.NewTemp(context.Background())
	check(f.t, err)
	dir := filepath.Join(f.ObjectDir(), temp, "d")
	check(f.t, os.MkdirAll(dir, 0o755))
	for i, text := range files {
		check(f.t, os.WriteFile(filepath.Join(dir, "file"+strconv.Itoa(i)), []byte(text), 0o444))
	}
	check(f.t, f.Canonicalise(context.Background(), temp, -1))
	return store.Addition{Temp: temp, Info: pathInfo(name)}
}

func (f *fixture) dump(name string) []byte {
	f.t.Helper()
	var b bytes.Buffer
	_, err := nar.Dump(context.Background(), &b, filepath.Join(f.ObjectDir(), name))
	check(f.t, err)
	return b.Bytes()
}

func (f *fixture) stat(name, file string) syscall.Stat_t {
	f.t.Helper()
	var st syscall.Stat_t
	check(f.t, syscall.Lstat(filepath.Join(f.ObjectPath(path(name)), "d", file), &st))
	return st
}

func (f *fixture) links() []string {
	f.t.Helper()
	entries, err := os.ReadDir(filepath.Join(f.ObjectDir(), local.LinksDir))
	if !errors.Is(err, os.ErrNotExist) {
		check(f.t, err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestOptimise(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	big := strings.Repeat("big", 10000)
	x, y := f.tree("x", big, "only", ""), f.tree("y", big, big, "")
	result, err := f.Optimise(ctx)
	check(t, err)
	if result.Files != 2 || result.Bytes < 2*int64(len(big)) || result.Bytes > 4*int64(len(big)) {
		t.Errorf("it did %+v", result)
	}
	if f.stat("x", "file0").Ino != f.stat("y", "file1").Ino || f.stat("x", "file2").Ino == f.stat("y", "file2").Ino {
		t.Error("other files are shared than expected")
	}
	if !bytes.Equal(x, f.dump(path("x").String())) || !bytes.Equal(y, f.dump(path("y").String())) {
		t.Error("an object has changed")
	}
	var st syscall.Stat_t
	check(t, syscall.Lstat(filepath.Join(f.ObjectPath(path("y")), "d"), &st))
	if st.Mode&0o7777 != 0o555 || st.Mtim.Sec != 1 {
		t.Errorf("the directory has mode %o and time %d", st.Mode&0o7777, st.Mtim.Sec)
	}
	if again, err := f.Optimise(ctx); err != nil || again.Files != 0 || again.Bytes != 0 {
		t.Errorf("the second time it did %+v, %v", again, err)
	}
	if names, err := f.Unregistered(ctx); err != nil || len(names) > 0 {
		t.Errorf("unregistered: %q, %v", names, err)
	}
}

func TestAutoOptimise(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *local.Options) { o.AutoOptimise = true })
	f.tree("x", "same", "same")
	y := f.tree("y", "same")
	if ino := f.stat("x", "file0").Ino; ino != f.stat("x", "file1").Ino || ino != f.stat("y", "file0").Ino {
		t.Error("equal files are not shared")
	}
	f.reopen()
	if !bytes.Equal(y, f.dump(path("y").String())) {
		t.Error("an object has changed")
	}
}

// GC removes the links that no object needs, and what they kept on disk counts as freed.
func TestGCRemovesLinks(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *local.Options) { o.AutoOptimise = true })
	big := strings.Repeat("big", 100000)
	f.tree("x", big)
	f.tree("y", "small")
	defer f.AddTempRoot(path("y"))()
	result, err := f.GC(context.Background(), local.GCOptions{})
	check(t, err)
	if result.BytesFreed < int64(len(big)) || result.BytesFreed > 2*int64(len(big)) || len(f.links()) != 1 {
		t.Errorf("freed %d bytes, %d links left", result.BytesFreed, len(f.links()))
	}
}

// A link target that somebody has changed must not get into further objects.
func TestDamagedLinkTarget(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *local.Options) { o.AutoOptimise = true })
	ctx := context.Background()
	f.tree("x", "good text")
	target := filepath.Join(f.ObjectDir(), local.LinksDir, f.links()[0])
	check(t, os.Chmod(target, 0o644))
	check(t, os.WriteFile(target, []byte("bad  text"), 0o444))
	check(t, os.Chmod(target, 0o444))
	if bad, err := f.CheckLinks(ctx, false); err != nil || len(bad) != 1 {
		t.Errorf("damaged: %q, %v", bad, err)
	}
	y := f.tree("y", "good text")
	z := f.tree("z", "good text")
	if !bytes.Equal(y, f.dump(path("y").String())) || !bytes.Equal(z, f.dump(path("z").String())) {
		t.Error("the damage has spread")
	}
	if f.stat("y", "file0").Ino != f.stat("z", "file0").Ino {
		t.Error("good files are not shared any more")
	}
	if bad, err := f.CheckLinks(ctx, false); err != nil || len(bad) != 0 {
		t.Errorf("damaged: %q, %v", bad, err)
	}
	if err := f.CheckContents(ctx, path("x")); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("x: %v", err)
	}
	repaired := f.treeAt("x", "good text")
	archive := f.dump(repaired.Temp)
	repaired.Info.NarHash, repaired.Info.NarSize = store.SHA256.Sum(archive), uint64(len(archive))
	check(t, f.Replace(ctx, repaired))
	check(t, f.CheckContents(ctx, path("x")))
	if f.stat("x", "file0").Ino != f.stat("z", "file0").Ino {
		t.Error("what was repaired is not shared")
	}
	check(t, os.Chmod(filepath.Join(f.ObjectDir(), local.LinksDir, f.links()[0]), 0o555))
	if bad, err := f.CheckLinks(ctx, true); err != nil || len(bad) != 1 || len(f.links()) != 0 {
		t.Errorf("an executable bit: %q, %v, links %q", bad, err, f.links())
	}
}

func TestLinkTargetIsFull(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.tree("x", "text")
	_, err := f.Optimise(context.Background())
	check(t, err)
	dir := filepath.Join(t.TempDir())
	target := filepath.Join(f.ObjectDir(), local.LinksDir, f.links()[0])
	for i := 0; ; i++ {
		err := os.Link(target, filepath.Join(dir, strconv.Itoa(i)))
		if errors.Is(err, syscall.EMLINK) {
			break
		}
		check(t, err)
		if i == 70000 {
			t.Skip("a file on this file system can have more than 70000 links")
		}
	}
	f.tree("y", "text", "text")
	result, err := f.Optimise(context.Background())
	check(t, err)
	y := f.stat("y", "file0")
	if result.Files != 1 || y.Ino != f.stat("y", "file1").Ino || y.Ino == f.stat("x", "file0").Ino {
		t.Errorf("it did %+v", result)
	}
}

// A failure between two steps leaves every object whole and nothing beside them.
func TestOptimiseFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	f := newFixture(t, func(o *local.Options) {
		o.Testing.Hook = func(point string) error {
			if point == "optimise: link" {
				return broken
			}
			return nil
		}
	})
	x := f.tree("x", "text", "text")
	if _, err := f.Optimise(context.Background()); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if !bytes.Equal(x, f.dump(path("x").String())) {
		t.Error("the object has changed")
	}
	if files := f.files(); len(files) != 2 {
		t.Errorf("in the object directory: %q", files)
	}
}

// Optimise, registrations and garbage collections at the same time.
func TestOptimiseTogether(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *local.Options) { o.AutoOptimise = true })
	ctx := context.Background()
	stop := make(chan struct{})
	var others sync.WaitGroup
	loop := func(step func() error) {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := step(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	loop(func() error { _, err := f.Optimise(ctx); return err })
	loop(func() error { _, err := f.GC(ctx, local.GCOptions{}); return err })
	loop(func() error { _, err := f.CheckLinks(ctx, true); return err })
	var workers sync.WaitGroup
	for w := range 3 {
		workers.Go(func() {
			for i := range 40 {
				name := fmt.Sprintf("x%d-%d", w, i)
				release := f.AddTempRoot(path(name))
				archive := f.tree(name, "common", fmt.Sprint(i%3))
				var b bytes.Buffer
				if err := f.DumpNAR(ctx, io.Writer(&b), path(name)); err != nil || !bytes.Equal(archive, b.Bytes()) {
					t.Errorf("%s has changed: %v", name, err)
				}
				release()
			}
		})
	}
	workers.Wait()
	close(stop)
	others.Wait()
	if _, err := f.GC(ctx, local.GCOptions{}); err != nil || len(f.links()) > 0 {
		t.Errorf("links left: %q, %v", f.links(), err)
	}
}
