package harness

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"larder/nar"
	"larder/store"
)

// Tree is what an object is: contents by relative name, "" for the object itself. Contents that begin with "->" make a
// symlink, such with "#!" an executable file.
type Tree map[string]string

// NAR is the tree as an archive.
func (tree Tree) NAR(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	write := func(e *nar.Entry, contents string) {
		if err := w.WriteEntry(e); err != nil {
			t.Fatal(err)
		}
		if e.Type == nar.Regular {
			if _, err := w.Write([]byte(contents)); err != nil {
				t.Fatal(err)
			}
		}
	}
	directories := map[string]bool{}
	for name := range tree {
		for name != "" {
			if name = path.Dir(name); name == "." {
				name = ""
			}
			directories[name] = true
		}
	}
	names := slices.Collect(maps.Keys(directories))
	names = slices.AppendSeq(names, maps.Keys(tree))
	// A directory's contents come right after it, whatever bytes other names have.
	slices.SortFunc(names, func(a, b string) int {
		return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
	})
	for _, name := range names {
		contents := tree[name]
		target, isLink := strings.CutPrefix(contents, "->")
		switch {
		case directories[name]:
			write(&nar.Entry{Path: name, Type: nar.Directory}, "")
		case isLink:
			write(&nar.Entry{Path: name, Type: nar.Symlink, Target: target}, "")
		default:
			write(&nar.Entry{Path: name, Type: nar.Regular, Executable: strings.HasPrefix(contents, "#!"), Size: int64(len(contents))}, contents)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Cache is a binary cache on loopback that serves uncompressed NARs from memory, each as a test wants it.
type Cache struct {
	URL string
	Key store.SecretKey

	t   testing.TB
	dir store.Dir
	web *httptest.Server

	mu      sync.Mutex // guards what follows
	objects map[string]*Object
}

// Object is what a cache has of one path.
type Object struct {
	Path string // absolute
	NAR  []byte
	Info store.NarInfo

	mu     sync.Mutex // guards what follows
	gets   int        // of the NAR
	holdAt int        // bytes after which the server stalls, -1: never
	held   int        // requests that have come to that
	gone   chan struct{}
}

// NewCache starts a cache for the store directory of a site, with a key of its own.
func (s *Site) NewCache(priority int) *Cache {
	s.t.Helper()
	key, err := store.GenerateKey(fmt.Sprintf("test-%d", priority), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	c := &Cache{Key: key, t: s.t, dir: store.Dir(s.Dir), objects: map[string]*Object{}}
	c.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, priority) }))
	c.URL = c.web.URL
	s.t.Cleanup(func() {
		c.web.CloseClientConnections() // ends what is held
		c.web.Close()
	})
	return c
}

// Add puts an object into the cache. Its digest follows from its name alone.
func (c *Cache) Add(name string, tree Tree, references ...*Object) *Object {
	c.t.Helper()
	sum := sha256.Sum256([]byte(name))
	p, err := store.NewStorePath([20]byte(sum[:20]), name)
	if err != nil {
		c.t.Fatal(err)
	}
	o := &Object{Path: c.dir.Join(p), NAR: tree.NAR(c.t), holdAt: -1, gone: make(chan struct{})}
	o.Info = store.NarInfo{URL: "nar/" + p.HashPart() + ".nar", Compression: "none"}
	o.Info.Path = p
	for _, r := range references {
		o.Info.References = append(o.Info.References, r.Info.Path)
	}
	c.Promise(o)
	o.Info.Sign(c.dir, c.Key)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.objects[p.HashPart()] = o
	return o
}

// Promise makes the narinfo of an object say what its NAR is, without a signature.
func (c *Cache) Promise(o *Object) {
	hash := store.SHA256.Sum(o.NAR)
	o.Info.NarHash, o.Info.NarSize = hash, uint64(len(o.NAR))
	o.Info.FileHash, o.Info.FileSize = hash, uint64(len(o.NAR))
	o.Info.Signatures = nil
}

func (c *Cache) serve(w http.ResponseWriter, r *http.Request, priority int) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "nix-cache-info" {
		fmt.Fprintf(w, "StoreDir: %s\nWantMassQuery: 1\nPriority: %d\n", c.dir, priority)
		return
	}
	hash := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(name, "nar/"), ".nar"), ".narinfo")
	c.mu.Lock()
	o := c.objects[hash]
	c.mu.Unlock()
	switch {
	case o == nil:
		http.NotFound(w, r)
	case strings.HasSuffix(name, ".narinfo"):
		fmt.Fprint(w, o.Info.Text(c.dir))
	default:
		o.serve(w, r)
	}
}

func (o *Object) serve(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.gets++
	at, gone := o.holdAt, o.gone
	o.mu.Unlock()
	if at < 0 {
		w.Write(o.NAR)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(o.NAR)))
	w.Write(o.NAR[:at])
	w.(http.Flusher).Flush()
	o.mu.Lock()
	o.held++
	o.mu.Unlock()
	select {
	case <-gone:
		w.Write(o.NAR[at:])
	case <-r.Context().Done():
	}
}

// Hold makes the server stall after some bytes of the NAR, until Release.
func (o *Object) Hold(after int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holdAt = after
}

// Release lets all go on that are held, and holds nobody any more.
func (o *Object) Release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holdAt = -1
	close(o.gone)
	o.gone = make(chan struct{})
}

// AwaitHeld waits until a download is held.
func (o *Object) AwaitHeld(t testing.TB) {
	t.Helper()
	Eventually(t, "a download of "+o.Path+" is held", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.held > 0
	})
}

// Gets is how many times the NAR was asked for.
func (o *Object) Gets() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.gets
}
