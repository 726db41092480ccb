package fusefs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func openDir(t testing.TB, dir string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestIndexIsInCanonicalOrder(t *testing.T) {
	s := newFakeStore(t)
	p := s.add(t, "object", tree{
		"b/z": "", "b/a": "", "b.c": "", "b/m/n": "", "a": "", "ä": "", "link": "->b", "Z/": "", "b-": "",
	})
	if err := unix.Mkfifo(filepath.Join(s.dir, p.String(), "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	x, err := buildIndex(openDir(t, s.dir), p.String())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for e := range uint32(x.len()) {
		got = append(got, strings.TrimPrefix(x.path(p.String(), e), p.String())+" "+x.kinds[e].String())
	}
	want := []string{" directory", "/Z directory", "/a regular file", "/b directory", "/b/a regular file", "/b/m directory",
		"/b/m/n regular file", "/b/z regular file", "/b- regular file", "/b.c regular file", "/link symlink", "/ä regular file"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for e := range uint32(x.len()) {
		if e == 0 {
			continue
		}
		if found, ok := x.find(x.parents[e], x.name(e)); !ok || found != e {
			t.Errorf("find %q in %d: %d, %v", x.name(e), x.parents[e], found, ok)
		}
	}
	for _, absent := range []string{"", "b.", "b/a", "zz", "A"} {
		if e, ok := x.find(0, absent); ok {
			t.Errorf("find %q: %d", absent, e)
		}
	}
}

func TestIndexOfSingleFile(t *testing.T) {
	s := newFakeStore(t)
	p := s.add(t, "file", tree{"": "x"})
	x, err := buildIndex(openDir(t, s.dir), p.String())
	if err != nil || x.len() != 1 || x.kinds[0] != kindRegular || len(x.list(0)) != 0 {
		t.Errorf("%+v, %v", x, err)
	}
}

// Paths beyond PATH_MAX can be walked, and no symlink is followed on the way.
func TestDeepObject(t *testing.T) {
	const depth, name = 300, "a-rather-long-name-of-a-directory-so-that-the-path-grows"
	dir := t.TempDir()
	at := openDir(t, dir)
	for _, n := range append([]string{"object"}, slices.Repeat([]string{name}, depth)...) {
		if err := unix.Mkdirat(at, n, 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(at, n, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(next) })
		at = next
	}
	if err := unix.Symlinkat("/etc", at, "link"); err != nil {
		t.Fatal(err)
	}
	root := openDir(t, dir)
	x, err := buildIndex(root, "object")
	if err != nil || x.len() != depth+2 {
		t.Fatalf("%v, %d entries", err, x.len())
	}
	last := uint32(x.len() - 1)
	path := x.path("object", last)
	if target, err := readlinkBeneath(root, path); err != nil || string(target) != "/etc" {
		t.Errorf("readlink of a path of %d bytes: %q, %v", len(path), target, err)
	}
	var st unix.Stat_t
	if err := statBeneath(root, path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		t.Errorf("stat: %o, %v", st.Mode, err)
	}
	if err := statBeneath(root, path+"/passwd", &st); err != unix.ELOOP {
		t.Errorf("a symlink on the way: %v", err)
	}
	if fd, err := openBeneath(root, path, unix.O_RDONLY); err != unix.ELOOP {
		t.Errorf("a symlink at the end: %d, %v", fd, err)
	}
}

func TestIndexesAreBounded(t *testing.T) {
	var mu sync.Mutex
	built := map[uint32]int{}
	c := newIndexes(100, func(object uint32) (*index, error) {
		mu.Lock()
		defer mu.Unlock()
		built[object]++
		if object == 99 {
			return nil, os.ErrNotExist
		}
		return &index{kinds: make([]kind, 10+object)}, nil
	})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { c.get(1) })
	}
	wg.Wait()
	if built[1] != 1 {
		t.Errorf("built %d times", built[1])
	}
	for i := range uint32(20) {
		c.get(i)
		c.get(1) // used all the time
	}
	if built[1] != 1 {
		t.Error("the most recently used one was forgotten")
	}
	if c.total > 100 || len(c.byObject) != c.recent.Len() {
		t.Errorf("%d entries, %d and %d objects", c.total, len(c.byObject), c.recent.Len())
	}
	for range 2 {
		if _, err := c.get(99); err == nil {
			t.Error("no error")
		}
	}
	if built[99] != 2 {
		t.Error("an error was remembered")
	}
	c.drop(1)
	c.get(1)
	if built[1] != 2 {
		t.Error("it was not dropped")
	}
	// One that is larger than everything is kept while it is the latest.
	if x, err := c.get(500); err != nil || x.len() != 510 || len(c.byObject) != 1 {
		t.Errorf("%v, %d objects", err, len(c.byObject))
	}
}

func TestFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 10 {
		os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte(strings.Repeat("x", i)), 0o644)
	}
	os.Mkdir(filepath.Join(dir, "10"), 0o755)
	root := openDir(t, dir)
	opened := 0
	files := newFiles(3, func(id nodeID) (int, error) {
		opened++
		return openBeneath(root, fmt.Sprint(id.object()), unix.O_RDONLY)
	})
	get := func(i uint32) *file {
		t.Helper()
		f, err := files.get(newNodeID(i, kindRegular, 0))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	held := get(5)
	for i := range uint32(10) {
		f := get(i)
		if f.size != int64(i) {
			t.Errorf("file %d has size %d", i, f.size)
		}
		files.put(f)
	}
	if len(files.byNode) != 3 || files.recent.Len() != 3 {
		t.Errorf("%d and %d are kept", len(files.byNode), files.recent.Len())
	}
	b := make([]byte, 10)
	if n, err := unix.Pread(held.fd, b, 0); n != 5 || err != nil {
		t.Errorf("one in use was closed: %d, %v", n, err)
	}
	files.put(held)
	if _, err := unix.Pread(held.fd, b, 0); err != unix.EBADF {
		t.Errorf("one that nobody uses is open still: %v", err)
	}
	before := opened
	files.put(get(9))
	if opened != before {
		t.Error("the last one was not kept")
	}
	if _, err := files.get(newNodeID(10, kindRegular, 0)); err == nil {
		t.Error("a directory can be read")
	}
	if _, err := files.get(newNodeID(11, kindRegular, 0)); err != unix.ENOENT {
		t.Errorf("what is not there: %v", err)
	}
	files.drop(func(nodeID) bool { return true })
	if len(files.byNode) != 0 {
		t.Error("not all were dropped")
	}
}
