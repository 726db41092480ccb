package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"larder/cmd/internal/control"
	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
)

// serve starts a server for a fake and returns a client of it.
func serve(t *testing.T, f *fake) (*control.Client, string) {
	t.Helper()
	// Deeper than a socket address is long.
	socket := filepath.Join(t.TempDir(), strings.Repeat("d", 120), "control.sock")
	l, err := control.Listen(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s := control.NewServer(f, nil, slog.New(slog.DiscardHandler))
	s.Start(l)
	c, err := control.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return c, socket
}

func newFake() *fake {
	return &fake{dir: "/s", text: bytes.Repeat([]byte("some text\n"), 40_000), failure: errors.New("it failed")}
}

func path(t *testing.T, name string) store.StorePath {
	t.Helper()
	p, err := store.ParseStorePath("7rjj86a15146cq1d3qy068lml7n7ykzm-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCalls compares what each call gives through the API with what it gives directly.
func TestCalls(t *testing.T) {
	f := newFake()
	c, _ := serve(t, f)
	ctx, p, drv := t.Context(), path(t, "p"), path(t, "d.drv")
	read := func(r io.ReadCloser, err error) (string, error) {
		if err != nil {
			return "", err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		return string(b), err
	}
	calls := map[string]func(control.Service) (any, error){
		"Dir":              func(s control.Service) (any, error) { return s.Dir(), nil },
		"Hello":            func(s control.Service) (any, error) { return s.Hello(ctx) },
		"Status":           func(s control.Service) (any, error) { return s.Status(ctx) },
		"Plan":             func(s control.Service) (any, error) { return s.Plan(ctx, []realiser.Target{{Path: p}}) },
		"Why":              func(s control.Service) (any, error) { return s.Why(ctx, p) },
		"Log":              func(s control.Service) (any, error) { return read(s.Log(ctx, p)) },
		"PathInfo":         func(s control.Service) (any, error) { return s.PathInfo(ctx, p) },
		"PathFromHashPart": func(s control.Service) (any, error) { return s.PathFromHashPart(ctx, p.Digest()) },
		"Query":            func(s control.Service) (any, error) { return s.Query(ctx, control.Closure, []store.StorePath{p, drv}) },
		"Realisation": func(s control.Service) (any, error) {
			return s.Realisation(ctx, store.DrvOutput{DrvHash: store.SHA256.Sum(nil), Output: "out"})
		},
		"Realisations": func(s control.Service) (any, error) { return s.Realisations(ctx, p) },
		"Outputs":      func(s control.Service) (any, error) { return s.Outputs(ctx, drv) },
		"Derivation": func(s control.Service) (any, error) {
			d, err := s.Derivation(ctx, drv)
			if err != nil {
				return nil, err
			}
			return string(d.ATerm(s.Dir())), nil
		},
		"DumpNAR": func(s control.Service) (any, error) {
			var b bytes.Buffer
			err := s.DumpNAR(ctx, &b, p)
			return b.String(), err
		},
		"Listing": func(s control.Service) (any, error) {
			l, err := s.Listing(ctx, p)
			if err != nil {
				return nil, err
			}
			return l.Root, nil
		},
		"Add": func(s control.Service) (any, error) {
			q := control.AddRequest{Name: "a?b=c", Method: store.Flat, Algo: store.SHA1, References: []store.StorePath{p, drv}}
			got, err := s.Add(ctx, q, bytes.NewReader(f.text))
			return []any{got, f.last()}, err
		},
		"AddDerivation": func(s control.Service) (any, error) {
			got, err := s.AddDerivation(ctx, "x+y", []byte("Derive(\xff)"))
			return []any{got, f.last()}, err
		},
		"Roots": func(s control.Service) (any, error) { return s.Roots(ctx) },
		"AddRoot": func(s control.Service) (any, error) {
			err := s.AddRoot(ctx, "/link")
			return f.last(), err
		},
		"CollectGarbage": func(s control.Service) (any, error) {
			got, err := s.CollectGarbage(ctx, control.GCRequest{DryRun: true, MaxFreed: 7, Paths: []store.StorePath{p}})
			return []any{got, f.last()}, err
		},
		"Verify": func(s control.Service) (any, error) {
			q := control.VerifyRequest{Paths: []store.StorePath{p}, All: true, Contents: true, Repair: true}
			got, err := s.Verify(ctx, store.Caller{UID: uint32(os.Geteuid())}, q)
			return []any{got, f.last()}, err
		},
		"Optimise": func(s control.Service) (any, error) { return s.Optimise(ctx) },
		"Failures": func(s control.Service) (any, error) { return s.Failures(ctx) },
		"ForgetFailures": func(s control.Service) (any, error) {
			n, err := s.ForgetFailures(ctx, []store.StorePath{p})
			return []any{n, f.last()}, err
		},
		"Events": func(s control.Service) (any, error) {
			var seqs []uint64
			err := s.Events(ctx, func(e realiser.Event) error { seqs = append(seqs, e.Seq); return nil })
			return seqs, err
		},
		"Realise": func(s control.Service) (any, error) {
			var seen []string
			who := store.Caller{UID: uint32(os.Geteuid())}
			q := control.RealiseRequest{Mode: realiser.ModeCheck, KeepGoing: true, Rounds: 3, KeepFailed: true, Targets: []realiser.Target{{Path: p}, {Drv: drv}, {Drv: drv, Outputs: []string{"a", "out"}}}}
			o, err := s.Realise(ctx, who, q, func(e realiser.Event) { seen = append(seen, e.Path.String()+e.Line) })
			return []any{o, seen, f.last()}, err
		},
	}
	service := reflect.TypeFor[control.Service]()
	for i := range service.NumMethod() {
		name := service.Method(i).Name
		if name == "Close" {
			continue
		}
		call := calls[name]
		if call == nil {
			t.Errorf("%s has no test", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			want, err := call(f)
			if err != nil {
				t.Fatal(err)
			}
			got, err := call(c)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("through the API:\n%+v\ndirectly:\n%+v", got, want)
			}
		})
	}
}

// TestErrors: what errors.Is and errors.As see is the same on both sides.
func TestErrors(t *testing.T) {
	f := newFake()
	c, _ := serve(t, f)
	drv, p := path(t, "failing.drv"), path(t, "fail")
	inner := &result.BuildError{Drv: drv, Status: result.PermanentFailure, LogPath: "/log", LastLines: []string{"a", "b"}, KeptDir: "/kept", KeptOutputs: "/outputs",
		Err: errors.New("builder failed")}
	mismatch := &result.HashMismatchError{Drv: "/s/x.drv", Specified: store.SHA256.Sum(nil), Got: store.SHA256.Sum([]byte("x"))}
	f.failure = &result.BuildError{Drv: path(t, "top.drv"), Status: result.DependencyFailed,
		Err: fmt.Errorf("2 dependencies: %w", errors.Join(inner, fmt.Errorf("other: %w", mismatch), fmt.Errorf("third: %w", store.ErrBadSignature)))}
	check := func(t *testing.T, err error) {
		t.Helper()
		if err == nil || err.Error() != f.failure.Error() {
			t.Fatalf("got %v, want %v", err, f.failure)
		}
		if !errors.Is(err, store.ErrBadSignature) || errors.Is(err, store.ErrNotValid) {
			t.Errorf("sentinels are lost or invented: %v", err)
		}
		var top *result.BuildError
		if !errors.As(err, &top) || top.Status != result.DependencyFailed {
			t.Fatalf("no build error: %v", err)
		}
		var below *result.BuildError
		if !errors.As(top.Err, &below) || !reflect.DeepEqual([]any{below.Drv, below.Status, below.LogPath, below.LastLines, below.KeptDir, below.KeptOutputs, below.Error()},
			[]any{inner.Drv, inner.Status, inner.LogPath, inner.LastLines, inner.KeptDir, inner.KeptOutputs, inner.Error()}) {
			t.Errorf("inner build error: %+v", below)
		}
		var m *result.HashMismatchError
		if !errors.As(err, &m) || *m != *mismatch {
			t.Errorf("hash mismatch: %+v", m)
		}
	}
	t.Run("answer", func(t *testing.T) {
		_, err := c.PathInfo(t.Context(), p)
		check(t, err)
	})
	t.Run("outcome", func(t *testing.T) {
		o, err := c.Realise(t.Context(), store.Caller{}, control.RealiseRequest{Targets: []realiser.Target{{Path: p}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		check(t, o.Results[0].Err)
	})
	t.Run("stream of lines", func(t *testing.T) {
		_, err := c.Realise(t.Context(), store.Caller{}, control.RealiseRequest{Targets: []realiser.Target{{Path: path(t, "senseless")}}}, nil)
		check(t, err)
	})
	t.Run("end of a stream", func(t *testing.T) {
		var b bytes.Buffer
		check(t, c.DumpNAR(t.Context(), &b, path(t, "broken")))
		if b.Len() != len(f.text) {
			t.Errorf("%d bytes came before the error, want %d", b.Len(), len(f.text))
		}
		r, err := c.Log(t.Context(), path(t, "broken"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, r)
		check(t, errors.Join(err, r.Close()))
	})
}

// TestDenied: who may use the daemon but not do that is told apart from who may not use it.
func TestDenied(t *testing.T) {
	f := newFake()
	c, _ := serve(t, f)
	for _, owner := range []bool{true, false} {
		f.failure = control.ErrDenied
		if owner {
			f.failure = fmt.Errorf("%w: %w", control.ErrDenied, control.ErrOwnerOnly)
		}
		if _, err := c.PathInfo(t.Context(), path(t, "fail")); !errors.Is(err, control.ErrDenied) || errors.Is(err, control.ErrOwnerOnly) != owner {
			t.Errorf("%v", err)
		}
	}
}

// TestCancel: a client that goes away ends its request.
func TestCancel(t *testing.T) {
	f := newFake()
	c, _ := serve(t, f)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	go func() {
		for !strings.HasPrefix(f.last(), "realise") {
			time.Sleep(time.Millisecond)
		}
		cancel(cause)
	}()
	_, err := c.Realise(ctx, store.Caller{}, control.RealiseRequest{Targets: []realiser.Target{{Path: path(t, "hang")}}}, nil)
	if !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	for deadline := time.Now().Add(10 * time.Second); f.last() != "hang ended"; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the request goes on without its client")
		}
	}
}

// TestClose: closing the server ends what hangs, and the client hears of it.
func TestClose(t *testing.T) {
	f := newFake()
	socket := filepath.Join(t.TempDir(), "control.sock")
	l, err := control.Listen(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s := control.NewServer(f, nil, slog.New(slog.DiscardHandler))
	s.Start(l)
	c, err := control.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := c.Realise(t.Context(), store.Caller{}, control.RealiseRequest{Targets: []realiser.Target{{Path: path(t, "hang")}}}, nil)
		ended <- err
	}()
	for !strings.HasPrefix(f.last(), "realise") {
		time.Sleep(time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, realiser.ErrClosed) {
		t.Errorf("the client did not hear that the daemon ended: %v", err)
	}
	if _, err := control.Dial(t.Context(), socket); !errors.Is(err, control.ErrNoDaemon) {
		t.Errorf("dialling afterwards: %v", err)
	}
}

func TestStaleSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "control.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	if _, err := control.Dial(t.Context(), socket); !errors.Is(err, control.ErrNoDaemon) {
		t.Errorf("a socket without a listener: %v", err)
	}
	l, err := control.Listen(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// Somebody else's socket in its place stays.
	other, err := control.Listen(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(socket); err != nil {
		t.Errorf("closing one removed the other's socket: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

// TestHostileRequests: nonsense gets an error as JSON, and the server lives.
func TestHostileRequests(t *testing.T) {
	c, socket := serve(t, newFake())
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		dir, err := os.Open(filepath.Dir(socket))
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		return net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d/control.sock", dir.Fd()))
	}}}
	for _, r := range []struct {
		method, path, kind, body string
		status                   int
	}{
		{"GET", "/", "", "", 400},
		{"GET", "/v2/hello", "", "", 400},
		{"DELETE", "/v1/roots", "", "", 400},
		{"GET", "/v1/path-info/..%2f..%2fetc", "", "", 400},
		{"GET", "/v1/path-info/x", "", "", 400},
		{"GET", "/v1/hash-part/zz", "", "", 400},
		{"POST", "/v1/realise", "application/json", `{"targets":["x"]}`, 400},
		{"POST", "/v1/realise", "application/json", `{"targets":[],"unknown":1}`, 400},
		{"POST", "/v1/realise", "application/json", `{`, 400},
		{"POST", "/v1/realise", "text/plain", `{"targets":[]}`, 400}, // what a browser could send for a foreign page
		{"POST", "/v1/query", "application/json", `{"relation":"x","paths":[]}`, 400},
		{"POST", "/v1/add?name=x&method=x&algo=sha256", "", "", 400},
		{"POST", "/v1/add?name=x&method=nar&algo=sha3", "", "", 400},
		{"POST", "/v1/gc", "application/json", `{"maxFreed":-1}`, 400},
	} {
		q, err := http.NewRequest(r.method, "http://larder"+r.path, strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", r.kind)
		res, err := h.Do(q)
		if err != nil {
			t.Fatalf("%s %s: %v", r.method, r.path, err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != r.status || !bytes.HasPrefix(b, []byte(`{"message":"`)) {
			t.Errorf("%s %s %s: %d %s, want %d", r.method, r.path, r.body, res.StatusCode, b, r.status)
		}
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestConcurrentCalls(t *testing.T) {
	f := newFake()
	c, _ := serve(t, f)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			var b bytes.Buffer
			if err := c.DumpNAR(t.Context(), &b, path(t, "p")); err != nil || !bytes.Equal(b.Bytes(), f.text) {
				t.Errorf("%d bytes, %v", b.Len(), err)
			}
		})
	}
	wg.Wait()
}
