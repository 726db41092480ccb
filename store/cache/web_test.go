package cache_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"larder/store"
	"larder/store/cache"
)

// answers serves a few files from memory and counts requests for each.
type answers struct {
	mu    sync.Mutex
	files map[string]string
	asked map[string]int
	hook  func(w http.ResponseWriter, r *http.Request) (handled bool)
}

func newAnswers(files map[string]string) *answers {
	if files["/nix-cache-info"] == "" {
		files["/nix-cache-info"] = "StoreDir: /nix/store\n"
	}
	return &answers{files: files, asked: map[string]int{}}
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked[r.URL.Path]++
	text, ok := a.files[r.URL.Path]
	a.mu.Unlock()
	if a.hook != nil && a.hook(w, r) {
		return
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	io.WriteString(w, text)
}

func (a *answers) count(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[path]
}

// someInfo is a path with its narinfo, which claims that the NAR lies at a URL.
func someInfo(t testing.TB, url string) (store.StorePath, string) {
	s := newSource()
	p := s.add(t, "some", []byte("contents"))
	n := store.NarInfo{PathInfo: *s.infos[p], URL: url, Compression: "none"}
	return p, n.Text(store.DefaultDir)
}

func TestNotACache(t *testing.T) {
	page := "<!DOCTYPE html>\n<html><body>sign in: <a href=x>here</a></body></html>\n"
	p, text := someInfo(t, "nar/x.nar")
	for name, test := range map[string]struct {
		files map[string]string
		want  string
		kind  error
	}{
		"a portal":         {map[string]string{"/nix-cache-info": page}, "is a web page", store.ErrCorrupt},
		"a portal, later":  {map[string]string{"/" + p.HashPart() + ".narinfo": page}, "is a web page", store.ErrCorrupt},
		"priority":         {map[string]string{"/nix-cache-info": "Priority: high\n"}, "Priority", store.ErrCorrupt},
		"relative store":   {map[string]string{"/nix-cache-info": "StoreDir: nix\n"}, "StoreDir", store.ErrCorrupt},
		"endless info":     {map[string]string{"/nix-cache-info": strings.Repeat("x", 1<<20)}, "is longer than", store.ErrCorrupt},
		"endless narinfo":  {map[string]string{"/" + p.HashPart() + ".narinfo": strings.Repeat("x", 5<<20)}, "is longer than", store.ErrCorrupt},
		"another's":        {map[string]string{"/" + p.HashPart() + ".narinfo": strings.Replace(text, "-some\n", "-other\n", 1)}, "is about", store.ErrCorrupt},
		"does not have it": {map[string]string{}, "404", store.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, handle(t, newAnswers(test.files)), quick())
			_, err := c.NarInfo(t.Context(), p)
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.want) {
				t.Error(err)
			}
		})
	}
	c := open(t, handle(t, http.NotFoundHandler()), quick())
	if _, err := c.NarInfo(t.Context(), p); err == nil || !strings.Contains(err.Error(), "does not appear to be a binary cache") {
		t.Error(err)
	}
	c = open(t, "file:///nonexistent/directory", quick())
	if _, err := c.NarInfo(t.Context(), p); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("a directory that is not there is a failure, not an answer: %v", err)
	}
}

func TestURLsStayInTheCache(t *testing.T) {
	contents := newSource()
	p := contents.add(t, "some", []byte("contents"))
	for url, ok := range map[string]bool{
		"nar/x.nar":                   true,
		"nar/x.nar?hash=abc":          true,
		"other/deep/x.nar":            true,
		"":                            false,
		"/etc/passwd":                 false,
		"//elsewhere.example/x.nar":   false,
		"../secret":                   false,
		"nar/../../secret":            false,
		"nar/%2e%2e/%2e%2e/secret":    false,
		"http://169.254.169.254/meta": false,
		"http://127.0.0.1:9/base/x":   false,
		"file:///etc/passwd":          false,
		"nar/x#fragment":              false,
		"nar/\x01":                    false,
	} {
		n := &store.NarInfo{PathInfo: *contents.infos[p], URL: url, Compression: "none"}
		a := newAnswers(map[string]string{})
		a.hook = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/base/") || strings.Contains(r.URL.Path, "..") {
				t.Errorf("%q led to %s", url, r.URL)
			}
			w.Write(contents.nars[p])
			return true
		}
		err := readNAR(t.Context(), open(t, handle(t, a)+"/base", quick()), n)
		if (err == nil) != ok || !ok && !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestFilesStayInTheDirectory(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	cacheDir := filepath.Join(dir, "cache")
	if err := os.MkdirAll(filepath.Join(cacheDir, "nar"), 0o755); err != nil {
		t.Fatal(err)
	}
	p, text := someInfo(t, "nar/x.nar")
	if err := os.WriteFile(secret, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, "file://"+cacheDir, quick())
	for _, target := range []string{secret, "../secret"} {
		link := filepath.Join(cacheDir, p.HashPart()+".narinfo")
		os.Remove(link)
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if n, err := c.NarInfo(t.Context(), p); err == nil {
			t.Errorf("followed %s: %+v", target, n)
		}
	}
	n, err := store.ParseNarInfo(store.DefaultDir, text)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(cacheDir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"../secret", secret, "nar", ".", "nar/../../secret", "fifo"} {
		n.URL = url
		if err := readNAR(t.Context(), c, n); err == nil {
			t.Errorf("read %s", url)
		}
	}
}

func TestDownCache(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	o := quick()
	c := open(t, "http://"+address, o)
	p, text := someInfo(t, "nar/x.nar")
	_, err = c.NarInfo(t.Context(), p)
	var e *cache.Error
	if !errors.As(err, &e) || !e.Transient || errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
	// From now on nobody waits: with retries each question would take a second.
	begin := time.Now()
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			if _, err := c.NarInfo(t.Context(), p); err == nil || !strings.Contains(err.Error(), "left alone") {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("1000 questions to a cache that is down took %v", took)
	}
	// When it is back, and the time is over, it is asked again.
	o.DownTime = 10 * time.Millisecond
	c = open(t, "http://"+address, o)
	if _, err := c.NarInfo(t.Context(), p); err == nil {
		t.Fatal("it is down")
	}
	l, err = net.Listen("tcp", address)
	if err != nil {
		t.Skipf("somebody else took the port: %v", err)
	}
	server := &http.Server{Handler: newAnswers(map[string]string{"/" + p.HashPart() + ".narinfo": text})}
	go server.Serve(l)
	defer server.Close()
	for {
		if _, err = c.NarInfo(t.Context(), p); err == nil || !strings.Contains(err.Error(), "left alone") {
			break
		}
	}
	if err != nil {
		t.Error(err)
	}
}

func TestContentEncodings(t *testing.T) {
	p, text := someInfo(t, "nar/x.nar")
	n, err := store.ParseNarInfo(store.DefaultDir, text)
	if err != nil {
		t.Fatal(err)
	}
	s := newSource()
	s.add(t, "some", []byte("contents"))
	files := map[string][]byte{
		"/" + p.HashPart() + ".narinfo": []byte(text), "/nar/x.nar": s.nars[p],
		"/nix-cache-info": []byte("StoreDir: /nix/store\n"), "/log/" + p.String(): []byte("the log"),
	}
	for name, encode := range map[string]func(io.Writer) io.WriteCloser{
		"gzip":   func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"X-GZIP": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"br":     func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return z
		},
	} {
		c := open(t, handle(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", name) // whatever was asked for, as from S3
			e := encode(w)
			e.Write(files[r.URL.Path])
			e.Close()
		})), quick())
		if _, err := c.NarInfo(t.Context(), p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := readNAR(t.Context(), c, n); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if log, err := readLog(t.Context(), c, p); err != nil || log != "the log" {
			t.Errorf("%s: %q, %v", name, log, err)
		}
	}
	c := open(t, handle(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "rot13")
		w.Write(files[r.URL.Path])
	})), quick())
	if _, err := c.NarInfo(t.Context(), p); !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), "rot13") {
		t.Error(err)
	}
	if err := readNAR(t.Context(), c, n); !errors.Is(err, store.ErrCorrupt) {
		t.Error(err)
	}
}

func TestHTTP2(t *testing.T) {
	s := chain(t, 3_000_000)
	server := httptest.NewUnstartedServer(http.FileServer(http.Dir(pushed(t, s, cache.PushOptions{Compression: "zstd"}))))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	o := quick()
	o.Client = server.Client()
	c := open(t, server.URL, o)
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			n, err := c.NarInfo(t.Context(), s.order[i%len(s.order)])
			if err == nil {
				err = readNAR(t.Context(), c, n)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// Without the server's certificate: a failure that does not go away by trying again.
	var e *cache.Error
	if _, err := open(t, server.URL, quick()).NarInfo(t.Context(), s.order[0]); !errors.As(err, &e) || e.Transient {
		t.Error(err)
	}
}

func TestCancelledStream(t *testing.T) {
	f, n, url := oneNAR(t, 4<<20, "none")
	f.nar = func(w http.ResponseWriter, r *http.Request, file []byte, nth int) {
		w.Write(file[:len(file)/2])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	gone := errors.New("nobody wants it")
	ctx, cancel := context.WithCancelCause(t.Context())
	r, err := open(t, url, quick()).NAR(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, 1000); err != nil {
		t.Fatal(err)
	}
	if got := r.(interface{ Downloaded() int64 }).Downloaded(); got < 1000 {
		t.Errorf("downloaded: %d", got)
	}
	cancel(gone)
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, gone) {
		t.Error(err)
	}
	// Closed without being read, with full buffers and a server that hangs.
	r, err = open(t, url, quick()).NAR(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Read(make([]byte, 1)); err == nil {
		t.Error("read from a closed stream")
	}
}

func TestRequestsSayWhoAsks(t *testing.T) {
	p, text := someInfo(t, "nar/x.nar")
	a := newAnswers(map[string]string{"/" + p.HashPart() + ".narinfo": text})
	a.hook = func(_ http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		if r.UserAgent() != "larder/1.2" || user != "me" || password != "secret" {
			t.Errorf("%s %s: %q %s:%s", r.Method, r.URL, r.UserAgent(), user, password)
		}
		return false
	}
	o := quick()
	o.UserAgent = "larder/1.2"
	url := strings.Replace(handle(t, a), "http://", "http://me:secret@", 1)
	c := open(t, url, o)
	if _, err := c.NarInfo(t.Context(), p); err != nil {
		t.Error(err)
	}
	_, err := c.NarInfo(t.Context(), storePath(t, "00000000000000000000000000000000-absent"))
	if err == nil || strings.Contains(err.Error()+c.String(), "secret") {
		t.Errorf("the password shows: %v, %v", err, c)
	}
}

func TestBadURLs(t *testing.T) {
	for _, url := range []string{
		"", "nonsense", "ftp://x/", "http://", "https:///path", "file://relative/path", "http://x/?priority=high",
		"http://x/?trusted=maybe", "http://x/#y", "http://[::1", "http://x/?%zz", "file:///x?compression-level=z",
		"file://", "http://user:secret@x/?priority=z", "http://user:secret@[::1", "http://user:secret@x/?%zz",
	} {
		_, err := cache.Open(t.Context(), url, cache.Options{})
		if err == nil || strings.Contains(err.Error(), "secret") || bytes.ContainsRune([]byte(err.Error()), '\n') {
			t.Errorf("%q: %v", url, err)
		}
	}
}
