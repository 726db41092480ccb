package cache_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"larder/store"
	"larder/store/cache"
)

// memory is a Memory that notes what it is told.
type memory struct {
	mu    sync.Mutex
	texts map[[20]byte]string
	ttls  map[[20]byte]time.Duration
	info  string
	err   error
}

func newMemory() *memory {
	return &memory{texts: map[[20]byte]string{}, ttls: map[[20]byte]time.Duration{}}
}

func (m *memory) GetNarInfo(_ context.Context, _ string, d [20]byte) (string, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text, known := m.texts[d]
	return text, known, m.err
}

func (m *memory) PutNarInfo(_ context.Context, _ string, d [20]byte, text string, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.texts[d], m.ttls[d] = text, ttl
	if ttl <= time.Nanosecond {
		delete(m.texts, d)
	}
	return m.err
}

func (m *memory) GetCacheInfo(context.Context, string) (string, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.info, m.info != "", m.err
}

func (m *memory) PutCacheInfo(_ context.Context, _ string, text string, _ time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.info = text
	return m.err
}

func TestMemory(t *testing.T) {
	p, text := someInfo(t, "nar/x.nar")
	narinfo := "/" + p.HashPart() + ".narinfo"
	absent := storePath(t, "00000000000000000000000000000000-absent")
	a := newAnswers(map[string]string{narinfo: text})
	url := handle(t, a)
	m := newMemory()
	ask := func() (*cache.Cache, *store.NarInfo) {
		o := quick()
		o.Memory = m
		c := open(t, url, o) // anew: as after a restart
		n, err := c.NarInfo(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.NarInfo(t.Context(), absent); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		return c, n
	}
	ask()
	c, n := ask()
	for path, want := range map[string]int{narinfo: 1, "/" + absent.HashPart() + ".narinfo": 1, "/nix-cache-info": 1} {
		if got := a.count(path); got != want {
			t.Errorf("%s was asked for %d times", path, got)
		}
	}
	if m.ttls[p.Digest()] != 30*24*time.Hour || m.ttls[absent.Digest()] != time.Hour {
		t.Errorf("remembered for %v and %v", m.ttls[p.Digest()], m.ttls[absent.Digest()])
	}

	// The NAR is not there: the memory was wrong.
	if err := readNAR(t.Context(), c, n); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if _, known := m.texts[p.Digest()]; known {
		t.Error("a narinfo whose NAR is gone is still remembered")
	}
	ask()
	if got := a.count(narinfo); got != 2 {
		t.Errorf("%d requests", got)
	}

	// A memory that fails only costs requests.
	m.err = errors.New("disk on fire")
	ask()
	if got := a.count(narinfo); got != 3 {
		t.Errorf("%d requests", got)
	}
}

func TestGarbageIsNotRemembered(t *testing.T) {
	p, text := someInfo(t, "nar/x.nar")
	a := newAnswers(map[string]string{"/" + p.HashPart() + ".narinfo": "<html>"})
	o := quick()
	o.Memory = newMemory()
	c := open(t, handle(t, a), o)
	if _, err := c.NarInfo(t.Context(), p); !errors.Is(err, store.ErrCorrupt) {
		t.Error(err)
	}
	a.mu.Lock()
	a.files["/"+p.HashPart()+".narinfo"] = text
	a.mu.Unlock()
	if _, err := c.NarInfo(t.Context(), p); err != nil {
		t.Error(err)
	}
}

func TestSimultaneousQuestionsAreOne(t *testing.T) {
	p, text := someInfo(t, "nar/x.nar")
	narinfo := "/" + p.HashPart() + ".narinfo"
	a := newAnswers(map[string]string{narinfo: text})
	release := make(chan struct{})
	var gone atomic.Int32
	a.hook = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == narinfo {
			select {
			case <-release:
			case <-r.Context().Done():
				gone.Add(1)
			}
		}
		return false
	}
	c := open(t, handle(t, a), quick())
	arrived := func() { // the request is there
		for a.count(narinfo) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	var wg sync.WaitGroup
	results := make(chan error, 100)
	ask := func(ctx context.Context) {
		wg.Go(func() {
			_, err := c.NarInfo(ctx, p)
			results <- err
		})
	}

	// Two ask; the first leaves, the second gets its answer.
	first, leave := context.WithCancel(t.Context())
	ask(first)
	arrived()
	for range 20 {
		ask(t.Context())
	}
	leave()
	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(release)
	wg.Wait()
	for range 20 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	// The 20 may have come one after another; but not each with a request of its own while one was under way.
	if got := a.count(narinfo); got > 20 || gone.Load() > 1 {
		t.Errorf("%d requests, %d given up", got, gone.Load())
	}

	// All leave: the request ends.
	release = make(chan struct{})
	a.mu.Lock()
	a.asked[narinfo] = 0
	a.mu.Unlock()
	gone.Store(0)
	all, leave := context.WithCancel(t.Context())
	for range 20 {
		ask(all)
	}
	arrived()
	leave()
	wg.Wait()
	for range 20 {
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	for gone.Load() == 0 {
		time.Sleep(time.Millisecond) // until the server notices, or the test times out
	}
}
