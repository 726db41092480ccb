package builtin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"larder/nar"
	"larder/store/compress"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fetchInput is a download of location in a fresh directory, which becomes the working directory.
func fetchInput(t *testing.T, location string) *Input {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	return &Input{
		Attributes: map[string]string{"url": location},
		Out:        filepath.Join(dir, "out"),
		Network:    true,
		Fetch:      FetchOptions{UserAgent: "larder", Attempts: 3, Backoff: time.Millisecond},
	}
}

// wantOutput runs fetchurl and compares the output.
func wantOutput(t *testing.T, in *Input, want string) (log string) {
	t.Helper()
	var b bytes.Buffer
	if err := FetchURL(in, &b); err != nil {
		t.Fatalf("%v\n%s", err, &b)
	}
	if got, err := os.ReadFile(in.Out); err != nil || string(got) != want {
		t.Fatalf("output %q, %v, want %q", got, err, want)
	}
	return b.String()
}

func wantFailure(t *testing.T, in *Input, says string) (log string) {
	t.Helper()
	var b bytes.Buffer
	if err := FetchURL(in, &b); err == nil || !strings.Contains(err.Error(), says) {
		t.Fatalf("got %v, want …%s…", err, says)
	}
	return b.String()
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestFetchFile(t *testing.T) {
	source := filepath.Join(t.TempDir(), "a file")
	must(t, os.WriteFile(source, []byte("content"), 0o600))
	in := fetchInput(t, "file://"+strings.ReplaceAll(source, " ", "%20"))
	log := wantOutput(t, in, "content")
	lines := strings.Split(strings.TrimSpace(log), "\n")
	shown := in.Attributes["url"]
	id := uint64(os.Getpid())<<32 | 1
	want := fmt.Sprintf(`@nix {"action":"start","fields":["%s"],"id":%d,"level":4,"text":"downloading '%s'","type":101}`, shown, id, shown)
	if lines[0] != want || lines[len(lines)-1] != fmt.Sprintf(`@nix {"action":"stop","id":%d}`, id) {
		t.Errorf("the log is\n%s", log)
	}
	if want := fmt.Sprintf(`@nix {"action":"result","fields":[7,7,0,0],"id":%d,"type":105}`, id); lines[len(lines)-2] != want {
		t.Errorf("the last progress is\n%s", lines[len(lines)-2])
	}
	if info, err := os.Stat(in.Out); err != nil || info.Mode() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}

	in = fetchInput(t, "file://localhost"+strings.ReplaceAll(source, " ", "%20"))
	in.Attributes["executable"] = "1"
	wantOutput(t, in, "content")
	if info, err := os.Stat(in.Out); err != nil || info.Mode() != 0o755 {
		t.Errorf("executable: %v, %v", info.Mode(), err)
	}
}

func TestFetchRefusals(t *testing.T) {
	dir := t.TempDir()
	for location, says := range map[string]string{
		"file:///absent/file":  "unable to download 'file:///absent/file': open /absent/file: no such file or directory",
		"file://elsewhere/f":   "another machine",
		"file://" + dir:        "is not a regular file",
		"ftp://localhost/f":    "the URL scheme 'ftp' is not supported",
		"no url at all":        "the URL scheme '' is not supported",
		"http://a:b@[::1/f":    "unable to download",
		"https://127.0.0.1:1/": "connection refused",
	} {
		in := fetchInput(t, location)
		in.Fetch.Attempts = 1
		wantFailure(t, in, says)
	}
	in := fetchInput(t, "")
	delete(in.Attributes, "url")
	wantFailure(t, in, "attribute 'url' missing")
	in = fetchInput(t, "file:///f")
	in.Network = false
	wantFailure(t, in, "'builtin:fetchurl' must be a fixed-output or impure derivation")
	in = fetchInput(t, "file:///f")
	in.Out = ""
	wantFailure(t, in, "no output 'out'")
}

// TestRetries: what may pass is tried again, from the beginning of the file, and the log says so; what will not is not.
func TestRetries(t *testing.T) {
	for _, c := range []struct {
		name     string
		answer   http.HandlerFunc // to the first requests
		requests int32            // in all
		says     string           // of the failure; "" if it succeeds in the end
	}{
		{"busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, 3, ""},
		{"broken off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "the wrong beginning")
		}, 3, ""},
		{"not there", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, 1, "HTTP error 404"},
		{"a part", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(206) }, 1, "HTTP error 206"},
		{"endless redirects", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", r.URL.Path+"x")
			w.WriteHeader(302)
		}, maxRedirects + 1, errRedirects.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			var requests atomic.Int32
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if requests.Add(1) < 3 || c.says != "" {
					c.answer(w, r)
					return
				}
				fmt.Fprint(w, "right")
			})
			in := fetchInput(t, s.URL+"/f")
			if c.says != "" {
				wantFailure(t, in, c.says)
			} else if log := wantOutput(t, in, "right"); strings.Count(log, "warning: unable to download '"+s.URL+"/f': ") != 2 {
				t.Errorf("the log is\n%s", log)
			}
			if n := requests.Load(); n != c.requests {
				t.Errorf("%d requests, want %d", n, c.requests)
			}
		})
	}
	t.Run("never", func(t *testing.T) {
		var requests atomic.Int32
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			w.WriteHeader(500)
		})
		wantFailure(t, fetchInput(t, s.URL), "HTTP error 500")
		if n := requests.Load(); n != 3 {
			t.Errorf("%d requests", n)
		}
	})
}

// TestStall: a server that goes quiet does not hold us for ever.
func TestStall(t *testing.T) {
	quiet := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "some")
		w.(http.Flusher).Flush()
		<-quiet
	})
	defer close(quiet)
	in := fetchInput(t, s.URL)
	in.Fetch.Attempts, in.Fetch.StallTimeout = 1, 20*time.Millisecond
	wantFailure(t, in, errStalled.Error())
}

// TestRawContent: the hash is of what the server has, not of what an encoding hides.
func TestRawContent(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if e := r.Header.Get("Accept-Encoding"); e != "" {
			t.Errorf("asked for the encoding %q", e)
		}
		if a := r.Header.Get("User-Agent"); a != "larder" {
			t.Errorf("user agent %q", a)
		}
		w.Header().Set("Content-Encoding", "gzip")
		fmt.Fprint(w, "not really gzip")
	})
	wantOutput(t, fetchInput(t, s.URL), "not really gzip")
}

func TestUnpackNAR(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "tree/sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "tree/sub/f"), []byte("in a NAR"), 0o644))
	for _, method := range []string{"none", "xz", "zstd", "gzip", "bzip2"} {
		archive := filepath.Join(dir, "tree.nar."+method)
		f, err := os.Create(archive)
		must(t, err)
		w, err := compress.NewWriter(method, 0, f)
		must(t, err)
		_, err = nar.Dump(t.Context(), w, filepath.Join(dir, "tree"))
		must(t, errors.Join(err, w.Close(), f.Close()))
		in := fetchInput(t, "file://"+archive)
		in.Attributes["unpack"] = "1"
		if err := FetchURL(in, io.Discard); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		if got, err := os.ReadFile(in.Out + "/sub/f"); err != nil || string(got) != "in a NAR" {
			t.Errorf("%s: %q, %v", method, got, err)
		}
		if left, err := os.ReadDir("."); err != nil || len(left) != 1 {
			t.Errorf("%s: left in the build directory: %v, %v", method, left, err)
		}
	}
	junk := filepath.Join(dir, "junk.nar.xz")
	must(t, os.WriteFile(junk, []byte("no archive"), 0o644))
	in := fetchInput(t, "file://"+junk)
	in.Attributes["unpack"] = "1"
	wantFailure(t, in, "unpacking 'file://"+junk+"'")
}

// TestHashedMirrors: asked in their order and before the URL, believed only if the hash is right.
func TestHashedMirrors(t *testing.T) {
	sum := sha256.Sum256([]byte("right"))
	path := "/sha256/" + hex.EncodeToString(sum[:])
	var asked []string
	answer := map[string]string{}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if text, ok := answer[r.URL.Path]; ok {
			fmt.Fprint(w, text)
			return
		}
		w.WriteHeader(404)
	})
	input := func(t *testing.T) *Input {
		asked = nil
		in := fetchInput(t, s.URL+"/origin")
		in.FlatHash = "sha256:" + hex.EncodeToString(sum[:])
		in.Fetch.HashedMirrors = []string{s.URL + "/one", s.URL + "/two/"}
		return in
	}
	for _, c := range []struct {
		name        string
		one, two    string
		askedInTurn []string
	}{
		{"the first has it", "right", "", []string{"/one" + path}},
		{"the second has it", "", "right", []string{"/one" + path, "/two" + path}},
		{"none has it", "", "", []string{"/one" + path, "/two" + path, "/origin"}},
		{"the first lies", "wrong, and longer", "right", []string{"/one" + path, "/two" + path}},
		{"both lie", "wrong, and longer", "wrong", []string{"/one" + path, "/two" + path, "/origin"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer = map[string]string{"/origin": "right"}
			if c.one != "" {
				answer["/one"+path] = c.one
			}
			if c.two != "" {
				answer["/two"+path] = c.two
			}
			wantOutput(t, input(t), "right")
			if strings.Join(asked, " ") != strings.Join(c.askedInTurn, " ") {
				t.Errorf("asked for %q, want %q", asked, c.askedInTurn)
			}
		})
	}
	t.Run("a tree", func(t *testing.T) {
		answer = map[string]string{"/one" + path: "right", "/origin": "tree"}
		in := input(t)
		in.FlatHash = ""
		wantOutput(t, in, "tree")
		if len(asked) != 1 {
			t.Errorf("asked for %q", asked)
		}
	})
}

// hosts are servers on different loopback addresses, which are different hosts. Each notes the credentials that it got.
type host struct {
	*httptest.Server
	name string
	got  []string
}

func newHost(t *testing.T, address string, secure bool, next func() string) *host {
	t.Helper()
	h := &host{name: address}
	l, err := net.Listen("tcp", address+":0")
	must(t, err)
	h.Server = &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		h.got = append(h.got, user+":"+password)
		if to := next(); to != "" {
			w.Header().Set("Location", to)
			w.WriteHeader(302)
			return
		}
		fmt.Fprint(w, "content")
	})}}
	h.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that hang up
	if secure {
		h.StartTLS()
	} else {
		h.Start()
	}
	t.Cleanup(h.Close)
	return h
}

func nowhere() string { return "" }

func TestNetrcGoesToItsHostOnly(t *testing.T) {
	other := newHost(t, "127.0.0.2", false, nowhere)
	mine := newHost(t, "127.0.0.1", false, func() string { return other.URL })
	input := func(netrc string) *Input {
		mine.got, other.got = nil, nil
		in := fetchInput(t, mine.URL)
		in.Fetch.Netrc = []byte(netrc)
		return in
	}
	check := func(wantMine, wantOther string) {
		t.Helper()
		if strings.Join(mine.got, " ") != wantMine || strings.Join(other.got, " ") != wantOther {
			t.Errorf("sent %q and %q, want %q and %q", mine.got, other.got, wantMine, wantOther)
		}
	}
	log := wantOutput(t, input("machine 127.0.0.1 login me password secret"), "content")
	check("me:secret", ":")
	if strings.Contains(log, "secret") {
		t.Errorf("the log tells:\n%s", log)
	}
	// Each its own.
	wantOutput(t, input("machine 127.0.0.1 login me password secret\nmachine 127.0.0.2 login you password other"), "content")
	check("me:secret", "you:other")
	wantOutput(t, input("machine 127.0.0.2 login you password other"), "content")
	check(":", "you:other")
	wantOutput(t, input(""), "content")
	check(":", ":")
	// What the URL says goes before, and not any further either.
	in := input("machine 127.0.0.1 login me password secret")
	u, err := url.Parse(mine.URL)
	must(t, err)
	u.User = url.UserPassword("url", "pass")
	in.Attributes["url"] = u.String()
	if log := wantOutput(t, in, "content"); strings.Contains(log, "pass@") {
		t.Errorf("the log tells:\n%s", log)
	}
	check("url:pass", ":")
}

func TestHTTPS(t *testing.T) {
	plain := newHost(t, "127.0.0.1", false, nowhere)
	to := ""
	secure := newHost(t, "127.0.0.1", true, func() string { return to })
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	in := fetchInput(t, secure.URL)
	in.Fetch.Netrc = []byte("default login me password secret")
	in.Fetch.CA = authority
	wantOutput(t, in, "content")
	// Followed, because the content is checked; but the password does not go in the clear.
	to = plain.URL
	wantOutput(t, in, "content")
	if got := strings.Join(plain.got, " "); got != ":" {
		t.Errorf("sent %q in the clear", got)
	}
	in = fetchInput(t, secure.URL)
	secure.got = nil
	wantFailure(t, in, "'ssl-cert-file'")
	if len(secure.got) > 0 {
		t.Error("a request to a server that nobody vouches for")
	}
}

func TestProxy(t *testing.T) {
	var asked string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		fmt.Fprint(w, "through the proxy")
	})
	in := fetchInput(t, "http://far.example/f")
	in.Fetch.Proxy = map[string]string{"http_proxy": s.URL, "no_proxy": "near.example"}
	wantOutput(t, in, "through the proxy")
	if asked != "http://far.example/f" {
		t.Errorf("the proxy was asked for %q", asked)
	}
	in.Attributes["url"], in.Fetch.Attempts = "http://near.example:1/f", 1
	asked = ""
	if err := FetchURL(in, io.Discard); err == nil || asked != "" {
		t.Errorf("%v, the proxy was asked for %q", err, asked)
	}
}
