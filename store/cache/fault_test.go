package cache_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"larder/store"
	"larder/store/cache"
)

// faulty serves a cache, and lets a function take over the answers for NARs.
type faulty struct {
	dir      string
	nar      func(w http.ResponseWriter, r *http.Request, file []byte, nth int)
	requests atomic.Int64 // for NARs
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/nar/") {
		http.FileServer(http.Dir(f.dir)).ServeHTTP(w, r)
		return
	}
	file, err := os.ReadFile(filepath.Join(f.dir, r.URL.Path))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	f.nar(w, r, file, int(f.requests.Add(1)))
}

// ranges answers with the file or the part that is asked for.
func ranges(w http.ResponseWriter, r *http.Request, file []byte, tag string) {
	w.Header().Set("ETag", tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
}

// cutting breaks the connection after a number of bytes of the body.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) <= c.left {
		c.left -= len(p)
		return c.ResponseWriter.Write(p)
	}
	c.ResponseWriter.Write(p[:c.left])
	c.ResponseWriter.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// oneNAR is a cache with one path, behind a faulty server.
func oneNAR(t *testing.T, size int, compression string) (*faulty, *store.NarInfo, string) {
	t.Helper()
	s := newSource()
	p := s.add(t, "one", noise(size))
	f := &faulty{dir: pushed(t, s, cache.PushOptions{Compression: compression})}
	url := handle(t, f)
	n, err := open(t, url, quick()).NarInfo(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return f, n, url
}

func TestEachCutIsHealed(t *testing.T) {
	for _, compression := range []string{"none", "xz", "zstd"} {
		f, n, url := oneNAR(t, 1500, compression)
		o := quick()
		o.Backoff = time.Microsecond
		c := open(t, url, o)
		for _, withRanges := range []bool{true, false} {
			for cut := 0; cut < int(n.FileSize); cut += 5 {
				f.requests.Store(0)
				f.nar = func(w http.ResponseWriter, r *http.Request, file []byte, nth int) {
					if nth == 1 {
						w.Header().Set("Content-Length", fmt.Sprint(len(file)))
						w = &cutting{w, cut}
					}
					if withRanges {
						ranges(w, r, file, `"v1"`)
						return
					}
					w.Write(file)
				}
				if err := readNAR(t.Context(), c, n); err != nil {
					t.Fatalf("%s, ranges %v, cut at %d: %v", compression, withRanges, cut, err)
				}
				if got := f.requests.Load(); got != 2 {
					t.Fatalf("%s, ranges %v, cut at %d: %d requests", compression, withRanges, cut, got)
				}
			}
		}
	}
}

// TestEachCutIsAnError: no attempt brings more than the first bytes, or the end can't be told from the end of the file.
func TestEachCutIsAnError(t *testing.T) {
	for _, compression := range []string{"none", "xz", "zstd", "gzip", "bzip2", "br"} {
		f, n, url := oneNAR(t, 1500, compression)
		o := quick()
		o.Backoff = time.Microsecond
		c := open(t, url, o)
		for _, silent := range []bool{true, false} {
			for cut := 0; cut < int(n.FileSize); cut += 11 {
				f.nar = func(w http.ResponseWriter, r *http.Request, file []byte, nth int) {
					if silent {
						w.Write(file[:cut])
						return
					}
					w.Header().Set("Content-Length", fmt.Sprint(len(file)))
					(&cutting{w, cut}).Write(file)
				}
				err := readNAR(t.Context(), c, n)
				var e *cache.Error
				if !errors.As(err, &e) || e.Transient == silent || errors.Is(err, store.ErrCorrupt) != silent {
					t.Fatalf("%s, silent %v, cut at %d of %d: %v", compression, silent, cut, n.FileSize, err)
				}
			}
		}
	}
}

func TestResumingOverAndOver(t *testing.T) {
	f, n, url := oneNAR(t, 8<<20, "none")
	f.nar = func(w http.ResponseWriter, r *http.Request, file []byte, nth int) {
		ranges(&cutting{w, 1_300_000}, r, file, `"v1"`)
	}
	// More breaks than attempts: what counts are those without progress.
	if err := readNAR(t.Context(), open(t, url, quick()), n); err != nil {
		t.Error(err)
	}
	if got := f.requests.Load(); got != 7 {
		t.Errorf("%d requests", got)
	}
	// Without ranges each attempt begins at the beginning, and it must end some time.
	f.nar = func(w http.ResponseWriter, r *http.Request, file []byte, nth int) {
		w.Header().Set("Content-Length", fmt.Sprint(len(file)))
		(&cutting{w, 1_300_000 * (nth - 7)}).Write(file)
	}
	if err := readNAR(t.Context(), open(t, url, quick()), n); err == nil || f.requests.Load() != 7+3 {
		t.Errorf("%d requests: %v", f.requests.Load(), err)
	}
}

// TestNothingIsSpliced: what comes after a break is not what came before.
func TestNothingIsSpliced(t *testing.T) {
	f, n, url := oneNAR(t, 100_000, "none")
	c := open(t, url, quick())
	second := func(answer func(w http.ResponseWriter, r *http.Request, file []byte)) func(http.ResponseWriter, *http.Request, []byte, int) {
		return func(w http.ResponseWriter, r *http.Request, file []byte, nth int) {
			if nth == 1 {
				ranges(&cutting{w, 50_000}, r, file, `"v1"`)
				return
			}
			answer(w, r, file)
		}
	}
	changed := func(file []byte, at int) []byte {
		file[at] ^= 1
		return file
	}
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request, file []byte)
		want   string
	}{
		"another version": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			ranges(w, r, changed(file, 1000), `"v2"`)
		}, "changed while it was read"},
		"shorter": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			ranges(w, r, file[:20_000], `"v2"`)
		}, "it is shorter now"},
		"ranges ignored, same": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			w.Write(file)
		}, ""},
		"ranges ignored, other": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			w.Write(changed(file, 49_999))
		}, "changed while it was read"},
		"another range": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			r.Header.Set("Range", "bytes=40000-")
			ranges(w, r, file, `"v1"`)
		}, "the server answered with the range"},
		"another length": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			ranges(w, r, append(file, 0), `"v1"`)
		}, "the server answered with the range"},
		"If-Range ignored": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			r.Header.Del("If-Range")
			ranges(w, r, changed(file, 60_000), `"v2"`)
		}, "changed while it was read"},
		"no range": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			w.WriteHeader(http.StatusPartialContent)
			w.Write(file)
		}, `the server answered with the range ""`},
		"another encoding": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(file)
		}, "its encoding was"},
		"gone": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			http.NotFound(w, r)
		}, "404"},
		"unsatisfiable": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}, "416"},
	} {
		f.requests.Store(0)
		f.nar = second(test.answer)
		err := readNAR(t.Context(), c, n)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if got := f.requests.Load(); got != 2 {
			t.Errorf("%s: %d requests", name, got)
		}
	}
}

func TestWrongLengths(t *testing.T) {
	f, n, url := oneNAR(t, 10_000, "none")
	c := open(t, url, quick())
	for name, test := range map[string]struct {
		body func([]byte) []byte
		want string
	}{
		"longer":  {func(file []byte) []byte { return append(file, "junk"...) }, "longer than the"},
		"shorter": {func(file []byte) []byte { return file[:len(file)-1] }, "the NAR ends after"},
		"empty":   {func(file []byte) []byte { return nil }, "the NAR ends after 0 of"},
		"a page":  {func(file []byte) []byte { return []byte("<html>sign in</html>") }, "the NAR ends after"},
	} {
		f.nar = func(w http.ResponseWriter, r *http.Request, file []byte, nth int) { w.Write(test.body(file)) }
		err := readNAR(t.Context(), c, n)
		if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStatuses(t *testing.T) {
	f, n, url := oneNAR(t, 1000, "none")
	for _, test := range []struct {
		status    int
		header    string
		requests  int64
		transient bool
		notFound  bool
	}{
		{status: 500, requests: 3, transient: true},
		{status: 502, requests: 3, transient: true},
		{status: 503, header: "0", requests: 3, transient: true},
		{status: 429, header: "not a number", requests: 3, transient: true},
		{status: 429, header: "86400", requests: 1, transient: true},
		{status: 408, requests: 3, transient: true},
		{status: 404, requests: 1, notFound: true},
		{status: 403, requests: 1, notFound: true},
		{status: 410, requests: 1, notFound: true},
		{status: 401, requests: 1},
		{status: 400, requests: 1},
		{status: 501, requests: 1},
		{status: 204, requests: 1},
		{status: 206, requests: 1},
		{status: 304, requests: 1},
	} {
		f.requests.Store(0)
		f.nar = func(w http.ResponseWriter, r *http.Request, file []byte, nth int) {
			if test.header != "" {
				w.Header().Set("Retry-After", test.header)
			}
			w.WriteHeader(test.status)
		}
		err := readNAR(t.Context(), open(t, url, quick()), n)
		var e *cache.Error
		if !errors.As(err, &e) || e.Transient != test.transient || errors.Is(err, store.ErrNotFound) != test.notFound {
			t.Errorf("%d: %v", test.status, err)
		}
		if got := f.requests.Load(); got != test.requests {
			t.Errorf("%d: %d requests", test.status, got)
		}
		if test.requests == 1 {
			continue
		}
		// The last attempt succeeds.
		f.requests.Store(0)
		f.nar = func(w http.ResponseWriter, r *http.Request, file []byte, nth int) {
			if nth < int(test.requests) {
				w.WriteHeader(test.status)
				return
			}
			w.Write(file)
		}
		if err := readNAR(t.Context(), open(t, url, quick()), n); err != nil {
			t.Errorf("%d, then success: %v", test.status, err)
		}
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	f, n, url := oneNAR(t, 1000, "none")
	var refused time.Time
	f.nar = func(w http.ResponseWriter, r *http.Request, file []byte, nth int) {
		if nth == 1 {
			refused = time.Now()
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		if early := time.Second - time.Since(refused); early > 0 {
			t.Errorf("asked again %v too early", early)
		}
		w.Write(file)
	}
	if err := readNAR(t.Context(), open(t, url, quick()), n); err != nil {
		t.Error(err)
	}
}

func TestStalls(t *testing.T) {
	f, n, url := oneNAR(t, 100_000, "none")
	o := quick()
	o.StallTimeout = 300 * time.Millisecond
	c := open(t, url, o)
	body := func(how func(w http.ResponseWriter, r *http.Request, file []byte)) func(http.ResponseWriter, *http.Request, []byte, int) {
		return func(w http.ResponseWriter, r *http.Request, file []byte, nth int) {
			if nth > 1 {
				ranges(w, r, file, `"v1"`)
				return
			}
			how(w, r, file)
		}
	}
	for name, how := range map[string]func(w http.ResponseWriter, r *http.Request, file []byte){
		"no answer": func(w http.ResponseWriter, r *http.Request, file []byte) { <-r.Context().Done() },
		"half": func(w http.ResponseWriter, r *http.Request, file []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(file)))
			w.Header().Set("ETag", `"v1"`)
			w.Write(file[:len(file)/2])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	} {
		f.requests.Store(0)
		f.nar = body(how)
		if err := readNAR(t.Context(), c, n); err != nil || f.requests.Load() < 2 {
			t.Errorf("%s, once: %d requests, %v", name, f.requests.Load(), err)
		}
	}
	f.nar = func(w http.ResponseWriter, r *http.Request, file []byte, nth int) {
		w.Write(file[:1])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	var e *cache.Error
	if err := readNAR(t.Context(), c, n); !errors.As(err, &e) || !e.Transient || !strings.Contains(err.Error(), "stalled") {
		t.Errorf("forever: %v", err)
	}
}

// TestDropByDrop: a server that sends a byte now and then stalls too, although each read brings something.
func TestDropByDrop(t *testing.T) {
	f, n, url := oneNAR(t, 100_000, "none")
	f.nar = func(w http.ResponseWriter, r *http.Request, file []byte, nth int) {
		if nth > 1 {
			w.Write(file)
			return
		}
		for i := 0; r.Context().Err() == nil; i++ {
			if i == 500 {
				t.Error("500 drops, and nobody minds")
				return
			}
			w.Write(file[i : i+1])
			w.(http.Flusher).Flush()
			select {
			case <-time.After(30 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
	}
	o := quick()
	o.StallTimeout = time.Second
	if err := readNAR(t.Context(), open(t, url, o), n); err != nil || f.requests.Load() < 2 {
		t.Errorf("%d requests, %v", f.requests.Load(), err)
	}
}

func TestSlowConsumerIsNoStall(t *testing.T) {
	f, n, url := oneNAR(t, 16<<20, "none")
	f.nar = func(w http.ResponseWriter, r *http.Request, file []byte, nth int) { w.Write(file) }
	o := quick()
	o.StallTimeout = time.Second
	r, err := open(t, url, o).NAR(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, 1000); err != nil {
		t.Fatal(err)
	}
	time.Sleep(o.StallTimeout * 3 / 2) // all buffers are full, and nothing is read
	if left, err := io.Copy(io.Discard, r); err != nil || uint64(left) != n.NarSize-1000 || f.requests.Load() != 1 {
		t.Errorf("%d bytes in %d requests, %v", left, f.requests.Load(), err)
	}
}

func TestRedirects(t *testing.T) {
	f, n, url := oneNAR(t, 1000, "none")
	other := httptest.NewServer(http.FileServer(http.Dir(f.dir)))
	defer other.Close()
	f.nar = func(w http.ResponseWriter, r *http.Request, file []byte, nth int) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
	}
	if err := readNAR(t.Context(), open(t, url, quick()), n); err != nil {
		t.Errorf("to another host: %v", err)
	}
	f.requests.Store(0)
	f.nar = func(w http.ResponseWriter, r *http.Request, file []byte, nth int) {
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	}
	var e *cache.Error
	err := readNAR(t.Context(), open(t, url, quick()), n)
	if !errors.As(err, &e) || e.Transient || f.requests.Load() != 11 {
		t.Errorf("in a circle, after %d requests: %v", f.requests.Load(), err)
	}
}
