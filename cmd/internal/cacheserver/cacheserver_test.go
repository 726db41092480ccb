package cacheserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"larder/nar"
	"larder/store"
	"larder/store/derivation"
)

// objects is a store with one path, whose NAR is text.
type objects struct {
	info store.PathInfo
	text []byte
}

func newObjects(t *testing.T) *objects {
	t.Helper()
	p, err := store.ParseStorePath("7rjj86a15146cq1d3qy068lml7n7ykzm-x")
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("0123456789"), 1000)
	return &objects{info: store.PathInfo{Path: p, NarHash: store.SHA256.Sum(text), NarSize: uint64(len(text))}, text: text}
}

func (o *objects) Dir() store.Dir { return store.DefaultDir }

func (o *objects) PathFromHashPart(_ context.Context, digest [20]byte) (store.StorePath, error) {
	if digest != o.info.Path.Digest() {
		return store.StorePath{}, store.ErrNotValid
	}
	return o.info.Path, nil
}

func (o *objects) PathInfo(context.Context, store.StorePath) (*store.PathInfo, error) {
	return o.info.Clone(), nil
}

func (o *objects) DumpNAR(_ context.Context, w io.Writer, _ store.StorePath) error {
	for rest := o.text; len(rest) > 0; {
		n := min(7, len(rest))
		if _, err := w.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func (o *objects) Listing(context.Context, store.StorePath) (*nar.Listing, error) {
	return &nar.Listing{Root: &nar.ListingNode{Type: nar.Symlink, Target: "t"}}, nil
}

func (o *objects) Log(context.Context, store.StorePath) (io.ReadCloser, error) {
	return nil, store.ErrNotFound
}

func (o *objects) Realisation(_ context.Context, id store.DrvOutput) (*store.Realisation, error) {
	if id != drvOutput {
		return nil, store.ErrNotFound
	}
	return &store.Realisation{ID: id, OutPath: o.info.Path}, nil
}

func (o *objects) Derivation(_ context.Context, drv store.StorePath) (*derivation.Derivation, error) {
	d := &derivation.Derivation{Name: "x", Outputs: map[string]derivation.Output{"out": {HashAlgo: store.SHA256, Method: store.Recursive}}}
	switch drv.Name() {
	case "x.drv":
	case "unresolved.drv":
		d.InputDrvs = map[store.StorePath][]string{drv: {"out"}}
	default:
		return nil, store.ErrNotValid
	}
	return d, nil
}

func (o *objects) Outputs(context.Context, store.StorePath) (map[string]store.StorePath, error) {
	return map[string]store.StorePath{"out": o.info.Path}, nil
}

var drvOutput = store.DrvOutput{DrvHash: store.SHA256.Sum([]byte("drv")), Output: "out"}

func TestRealisationsOfTheStore(t *testing.T) {
	o := newObjects(t)
	key, err := store.GenerateKey("me", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ring := store.NewKeyRing(key.Public())
	s := &Store{Objects: o, Keys: []store.SecretKey{key}}
	body := func(path string) []byte {
		t.Helper()
		res := get(t, s, "GET", path, "")
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %v", path, res.Status, err)
		}
		return b
	}
	var r store.Realisation
	if err := json.Unmarshal(body("/realisations/"+drvOutput.String()+".doi"), &r); err != nil || r.OutPath != o.info.Path || !r.SignedBy(ring) {
		t.Errorf("%+v %v", r, err)
	}
	const digest = "7rjj86a15146cq1d3qy068lml7n7ykzm"
	drv, err := store.ParseStorePath(digest + "-x.drv")
	if err != nil {
		t.Fatal(err)
	}
	b, err := store.ParseBuildTrace(drv, "out", body("/build-trace-v2/"+drv.String()+"/out.doi"))
	if err != nil || b.OutPath != o.info.Path || !b.SignedBy(ring) {
		t.Errorf("%+v %v", b, err)
	}
	for _, path := range []string{"/realisations/x.doi", "/realisations/sha256:00!out.doi", "/realisations/" + drvOutput.String(),
		"/build-trace-v2/" + digest + "-x.drv/lib.doi", "/build-trace-v2/" + digest + "-x.drv", "/build-trace-v2/" + digest + "-x/out.doi",
		"/build-trace-v2/" + digest + "-other.drv/out.doi", "/build-trace-v2/" + digest + "-unresolved.drv/out.doi"} {
		res := get(t, s, "GET", path, "")
		res.Body.Close()
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

func get(t *testing.T, h http.Handler, method, path, ranges string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	if ranges != "" {
		r.Header.Set("Range", ranges)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRanges(t *testing.T) {
	o := newObjects(t)
	h := &Store{Objects: o}
	url := "/nar/" + narName(&o.info)
	size := len(o.text)
	for ranges, want := range map[string]struct{ status, start, end int }{
		"":                            {200, 0, size},
		"bytes=0-":                    {200, 0, size},
		"bytes=100-":                  {206, 100, size},
		"bytes=100-199":               {206, 100, 200},
		"bytes=9999-99999":            {206, 9999, size},
		"bytes=-5":                    {206, size - 5, size},
		"bytes=0-0,5-6":               {200, 0, size},
		"lines=1-2":                   {200, 0, size},
		"bytes=10000-":                {416, 0, 0},
		"bytes=5-3":                   {416, 0, 0},
		"bytes=x-":                    {416, 0, 0},
		"bytes=-0":                    {416, 0, 0},
		"bytes=99999999999999999999-": {416, 0, 0},
	} {
		r := get(t, h, "GET", url, ranges)
		b := body(t, r)
		if r.StatusCode != want.status || want.status != 416 && b != string(o.text[want.start:want.end]) {
			t.Errorf("%q: status %d, %d bytes; want %d, %d", ranges, r.StatusCode, len(b), want.status, want.end-want.start)
		}
	}
	if r := get(t, h, "HEAD", url, ""); r.StatusCode != 200 || r.ContentLength != int64(size) || body(t, r) != "" {
		t.Errorf("HEAD: %v", r)
	}
}

func TestNames(t *testing.T) {
	o := newObjects(t)
	h := &Store{Objects: o, Keys: []store.SecretKey{mustKey(t)}}
	base := "/" + o.info.Path.HashPart()
	for path, status := range map[string]int{
		"/nix-cache-info": 200, base + ".narinfo": 200, base + ".ls": 200, "/nar/" + narName(&o.info) + ".zst": 200,
		"/": 404, "/x": 404, "/00000000000000000000000000000000.narinfo": 404, "/nar/" + o.info.Path.HashPart() + "-0.nar": 404, "/nar/x": 404,
		"/log/" + o.info.Path.String(): 404, "/log/../x": 404, base + "x.narinfo": 404,
	} {
		if r := get(t, h, "GET", path, ""); r.StatusCode != status {
			t.Errorf("%s: %d, want %d", path, r.StatusCode, status)
		}
	}
	if r := get(t, h, "PUT", "/nix-cache-info", ""); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %d", r.StatusCode)
	}
	n, err := store.ParseNarInfo(o.Dir(), body(t, get(t, h, "GET", base+".narinfo", "")))
	if err != nil || n.NarHash != o.info.NarHash || len(n.Signatures) != 1 {
		t.Errorf("narinfo: %+v, %v", n, err)
	}
}

func mustKey(t *testing.T) store.SecretKey {
	t.Helper()
	k, err := store.GenerateKey("test-1", strings.NewReader(strings.Repeat("x", 64)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestShortNAR: an object that is not what is registered must not look like a whole file.
func TestShortNAR(t *testing.T) {
	o := newObjects(t)
	o.text = o.text[:5000]
	s := httptest.NewServer(&Store{Objects: o})
	defer s.Close()
	res, err := http.Get(s.URL + "/nar/" + narName(&o.info))
	if err != nil {
		return // broken before the header left: as good
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("%d bytes came, and no error", len(b))
	}
}

func TestDirectoryKeepsInside(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	cache := filepath.Join(dir, "cache")
	digest := "7rjj86a15146cq1d3qy068lml7n7ykzm"
	if err := errors.Join(os.MkdirAll(cache+"/nar", 0o755), os.WriteFile(secret, []byte("secret"), 0o600),
		os.WriteFile(cache+"/nar/a.nar", []byte("archive"), 0o644), os.WriteFile(cache+"/other", nil, 0o644),
		os.Symlink(secret, cache+"/nar/b.nar"), os.Symlink("../..", cache+"/log"), os.Symlink("../secret", cache+"/"+digest+".narinfo")); err != nil {
		t.Fatal(err)
	}
	h, err := NewDirectory(cache, store.DefaultDir)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if r := get(t, h, "GET", "/nar/a.nar", "bytes=2-3"); r.StatusCode != 206 || body(t, r) != "ch" {
		t.Errorf("a range: %v", r)
	}
	if r := get(t, h, "GET", "/nix-cache-info", ""); r.StatusCode != 200 || !strings.HasPrefix(body(t, r), "StoreDir: /nix/store\n") {
		t.Errorf("a generated nix-cache-info: %v", r)
	}
	for _, path := range []string{"/nar/b.nar", "/log/secret", "/" + digest + ".narinfo", "/other", "/nar/", "/nar/../secret", "/nar/.hidden", "/realisations/x"} {
		if r := get(t, h, "GET", path, ""); r.StatusCode < 400 || strings.Contains(body(t, r), "secret") {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
}

// TestServeBounds: too many requests at a time are told to come back, and the end of the context ends the server.
func TestServeBounds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	entered, leave := make(chan bool), make(chan bool)
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered <- true; <-leave }), Options{MaxRequests: 1})
	}()
	first := make(chan int, 1)
	url := "http://" + l.Addr().String()
	status := func() int {
		r, err := http.Get(url)
		if err != nil {
			t.Error(err)
			return 0
		}
		r.Body.Close()
		return r.StatusCode
	}
	go func() { first <- status() }()
	<-entered
	if got := status(); got != http.StatusServiceUnavailable {
		t.Errorf("the second request: %d", got)
	}
	leave <- true
	if got := <-first; got != http.StatusOK {
		t.Errorf("the first request: %d", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
