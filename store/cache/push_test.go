package cache_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"larder/store"
	"larder/store/cache"
)

func newKey(t testing.TB, name string) store.SecretKey {
	t.Helper()
	k, err := store.GenerateKey(name, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// chain is a source with paths that refer to each other.
func chain(t testing.TB, size int) *source {
	s := newSource()
	a := s.add(t, "a", noise(size))
	b := s.add(t, "b", noise(size/2), a)
	s.add(t, "c", nil, a, b)
	return s
}

func TestPushThenRead(t *testing.T) {
	key := newKey(t, "test-1")
	s := chain(t, 300_000)
	for _, compression := range []string{"xz", "zstd", "gzip", "bzip2", "br", "none"} {
		t.Run(compression, func(t *testing.T) {
			t.Parallel()
			level := 1
			if compression == "none" {
				level = 0
			}
			dir := pushed(t, s, cache.PushOptions{Compression: compression, Level: level, Key: &key, WriteListing: true, Jobs: 2})
			bothWays(t, dir, func(t *testing.T, url string) {
				o := quick()
				o.Policy = cache.Policy{Keys: store.NewKeyRing(key.Public()), RequireSigs: true}
				c := open(t, url, o)
				for _, p := range s.order {
					n, err := c.NarInfo(t.Context(), p)
					if err != nil {
						t.Fatal(err)
					}
					if n.Compression != compression {
						t.Errorf("%s: compression %s", p, n.Compression)
					}
					if err := readNAR(t.Context(), c, n); err != nil {
						t.Error(err)
					}
					if l, err := c.Listing(t.Context(), p); err != nil {
						t.Error(err)
					} else if _, ok := l.Lookup("file"); !ok {
						t.Errorf("%s: the listing lacks the file", p)
					}
				}
			})
			noTemps(t, dir)
		})
	}
}

// noTemps checks that nothing temporary was left.
func noTemps(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if strings.Contains(path, "tmp-") {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPushKeepsWhatIsThere(t *testing.T) {
	s := chain(t, 1000)
	dir := pushed(t, s, cache.PushOptions{Compression: "none"})
	name := filepath.Join(dir, s.order[0].HashPart()+".narinfo")
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t, "late-1")
	d := s.add(t, "d", []byte("new"), s.order[2])
	var existed, added []string
	c := open(t, "file://"+dir, quick())
	push := func() {
		existed, added = nil, nil
		err := c.Push(t.Context(), s, s.order, cache.PushOptions{Compression: "zstd", Key: &key, Done: func(n *store.NarInfo, e bool) {
			if e {
				existed = append(existed, n.Path.Name())
			} else {
				added = append(added, n.Path.Name())
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	push()
	if len(existed) != 3 || len(added) != 1 || added[0] != d.Name() {
		t.Errorf("existed %q, added %q", existed, added)
	}
	if after, err := os.ReadFile(name); err != nil || string(after) != string(before) {
		t.Errorf("the narinfo changed: %s (%v)", after, err)
	}
	// What is broken is made again.
	if err := os.WriteFile(name, []byte("StorePath: "), 0o644); err != nil {
		t.Fatal(err)
	}
	push()
	if n, err := c.NarInfo(t.Context(), s.order[0]); err != nil || len(added) != 1 || n.Compression != "zstd" {
		t.Errorf("%v, added %q", err, added)
	}
}

func TestPushRefuses(t *testing.T) {
	s := chain(t, 1000)
	lying := newSource()
	p := lying.add(t, "lying", noise(1000))
	lying.nars[p] = append([]byte(nil), lying.nars[p]...)
	lying.nars[p][200] ^= 1
	dir := filepath.Join(t.TempDir(), "new", "cache")
	file := "file://" + dir
	for name, test := range map[string]struct {
		url   string
		src   *source
		paths []store.StorePath
		opt   cache.PushOptions
		want  string
	}{
		"http":        {"http://127.0.0.1:1", s, s.order, cache.PushOptions{}, "only file:// caches can be written"},
		"compression": {file, s, s.order, cache.PushOptions{Compression: "nonsense"}, `unknown compression method "nonsense"`},
		"level":       {file, s, s.order, cache.PushOptions{Level: 77}, "xz has 0 to 9"},
		"unclosed":    {file, s, s.order[1:2], cache.PushOptions{}, "neither pushed nor in the cache"},
		"not valid":   {file, s, lying.order, cache.PushOptions{}, "not valid"},
		"wrong hash":  {file, lying, lying.order, cache.PushOptions{}, "registered are"},
	} {
		err := open(t, test.url, quick()).Push(t.Context(), test.src, test.paths, test.opt)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, _ := filepath.Glob(dir + "/*.narinfo"); left != nil {
		t.Errorf("left behind: %q", left)
	}
	if left, _ := filepath.Glob(dir + "/nar/*"); len(left) > 1 { // b's NAR is complete, only its narinfo is missing
		t.Errorf("left behind: %q", left)
	}
	noTemps(t, filepath.Dir(dir))
	o := quick()
	o.StoreDir = "/gnu/store"
	if err := open(t, file, o).Push(t.Context(), s, s.order, cache.PushOptions{}); err == nil {
		t.Error("a cache of another store was pushed to")
	}
}

func TestPushIsCancelled(t *testing.T) {
	s := &slowSource{source: chain(t, 1000), reached: make(chan struct{})}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-s.reached
		cancel()
	}()
	err := open(t, "file://"+dir, quick()).Push(ctx, s, s.order, cache.PushOptions{Jobs: 4})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
	noTemps(t, dir)
}

// slowSource dumps the first half of a NAR, then waits for the end of the context.
type slowSource struct {
	*source
	once    sync.Once
	reached chan struct{}
}

func (s *slowSource) DumpNAR(ctx context.Context, w io.Writer, p store.StorePath) error {
	if _, err := w.Write(s.nars[p][:len(s.nars[p])/2]); err != nil {
		return err
	}
	s.once.Do(func() { close(s.reached) })
	<-ctx.Done()
	return ctx.Err()
}

func TestPushSweeps(t *testing.T) {
	s := chain(t, 1000)
	dir := pushed(t, s, cache.PushOptions{Compression: "none"})
	stale, fresh := filepath.Join(dir, "nar", ".larder-tmp-stale"), filepath.Join(dir, ".larder-tmp-fresh")
	for _, f := range []string{stale, fresh} {
		if err := os.WriteFile(f, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(stale, long, long); err != nil {
		t.Fatal(err)
	}
	if err := open(t, "file://"+dir, quick()).Push(t.Context(), s, nil, cache.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stale file: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("somebody else's file: %v", err)
	}
}

func TestPushesAtTheSameTime(t *testing.T) {
	s := newSource()
	var last []store.StorePath
	for i := range 20 {
		last = []store.StorePath{s.add(t, "p", noise(1000+i), last...)}
	}
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i, compression := range []string{"xz", "zstd", "none", "none"} {
		wg.Go(func() {
			// Each as a process of its own would: with a Cache of its own.
			c, err := cache.Open(t.Context(), "file://"+dir, quick())
			if err == nil {
				err = c.Push(t.Context(), s, s.order, cache.PushOptions{Compression: compression, Jobs: 1 + i%2})
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	c := open(t, "file://"+dir, quick())
	for _, p := range s.order {
		n, err := c.NarInfo(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if err := readNAR(t.Context(), c, n); err != nil {
			t.Error(err)
		}
	}
	noTemps(t, dir)
}
