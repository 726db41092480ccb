package remote_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"larder/store"
	"larder/store/remote"
	"larder/store/wire"
)

func mustPath(t *testing.T, s string) store.StorePath {
	t.Helper()
	p, err := store.ParseStorePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// peer is a daemon's side of a connection.
type peer struct {
	net.Conn
	r      *wire.Reader
	w      *wire.Writer
	logger *wire.Logger
}

// fake returns a store whose daemon is a function. Its connections have no buffers.
func fake(t *testing.T, serve func(*peer) error) (*remote.Store, *atomic.Int32) {
	var dialled atomic.Int32
	ended := make(chan error, 100)
	s := remote.New(remote.Options{Name: "test:", Connections: 2, Dial: func(context.Context) (net.Conn, error) {
		dialled.Add(1)
		a, b := net.Pipe()
		go func() {
			defer b.Close()
			p := &peer{Conn: b, r: wire.NewReader(b, store.DefaultDir, wire.Limits{}), w: wire.NewWriter(b, store.DefaultDir)}
			if err := wire.AcceptClient(p.r, p.w, wire.Protocol{Version: wire.MaxVersion}, wire.Greeting{NixVersion: "fake"}); err != nil {
				ended <- err
				return
			}
			p.logger = wire.NewLogger(p.w)
			if err := p.logger.Reply(nil); err != nil {
				ended <- err
				return
			}
			ended <- serve(p)
		}()
		return a, nil
	}})
	t.Cleanup(func() {
		s.Close()
		for range dialled.Load() {
			if err := <-ended; err != nil && !errors.Is(err, io.EOF) {
				t.Errorf("the daemon: %v", err)
			}
		}
	})
	return s, &dialled
}

func TestDaemonThatWentAway(t *testing.T) {
	p := mustPath(t, "722cknb7zrny7sx1ipqmjmb9czwzawj5-hello")
	s, dialled := fake(t, func(d *peer) error {
		if _, err := d.r.ReadRequest(); err != nil {
			return err
		}
		if err := d.logger.Open(); err != nil {
			return err
		}
		return d.logger.Reply(&wire.Bool{Value: true}) // and hang up
	})
	for range 3 {
		if ok, err := s.IsValid(t.Context(), p); err != nil || !ok {
			t.Fatalf("%v, %v", ok, err)
		}
	}
	if n := dialled.Load(); n != 3 {
		t.Errorf("%d connections", n)
	}
}

func TestCancelledWhileTheDaemonIsSilent(t *testing.T) {
	p := mustPath(t, "722cknb7zrny7sx1ipqmjmb9czwzawj5-hello")
	asked := make(chan struct{}, 1)
	s, _ := fake(t, func(d *peer) error {
		if _, err := d.r.ReadRequest(); err != nil {
			return err
		}
		asked <- struct{}{}
		_, err := io.Copy(io.Discard, d.Conn)
		return err
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if _, err := s.IsValid(ctx, p); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestCancelledWhileAllConnectionsAreBusy(t *testing.T) {
	p := mustPath(t, "722cknb7zrny7sx1ipqmjmb9czwzawj5-hello")
	asked, finish := make(chan struct{}, 2), make(chan struct{})
	s, dialled := fake(t, func(d *peer) error {
		for {
			if _, err := d.r.ReadRequest(); err != nil {
				return err
			}
			asked <- struct{}{}
			<-finish
			if err := d.logger.Reply(&wire.Bool{Value: true}); err != nil {
				return err
			}
		}
	})
	results := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := s.IsValid(t.Context(), p)
			results <- err
		}()
	}
	<-asked
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.IsValid(ctx, p); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	close(finish)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := dialled.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// TestRefusedBeforeTheEnd: the daemon says no to an endless NAR and goes on.
func TestRefusedBeforeTheEnd(t *testing.T) {
	p := mustPath(t, "722cknb7zrny7sx1ipqmjmb9czwzawj5-hello")
	s, dialled := fake(t, func(d *peer) error {
		for {
			req, err := d.r.ReadRequest()
			if err != nil {
				return err
			}
			if _, ok := req.(*wire.IsValidPath); ok {
				if err := d.logger.Reply(&wire.Bool{Value: false}); err != nil {
					return err
				}
				continue
			}
			f := wire.NewFramedReader(d.r)
			if _, err := io.ReadFull(f, make([]byte, 100)); err != nil {
				return err
			}
			if err := d.logger.Fail(&wire.Error{Message: "no such thing here"}); err != nil {
				return err
			}
			if err := f.Drain(); err != nil {
				return err
			}
		}
	})
	info := &store.PathInfo{Path: p, NarHash: store.SHA256.Sum(nil)}
	var refused *wire.Error
	if err := s.AddNAR(t.Context(), info, endless{}, true); !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
	if ok, err := s.IsValid(t.Context(), p); ok || err != nil || dialled.Load() != 1 {
		t.Errorf("afterwards: %v, %v, %d connections", ok, err, dialled.Load())
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestSourceThatFails(t *testing.T) {
	s, _ := fake(t, func(d *peer) error {
		if _, err := d.r.ReadRequest(); err != nil {
			return err
		}
		if err := wire.NewFramedReader(d.r).Drain(); !errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the daemon did not see the body cut short")
		}
		return nil
	})
	broken := errors.New("broken disk")
	source := io.MultiReader(strings.NewReader("nix-archive-1"), failing{broken})
	info := &store.PathInfo{Path: mustPath(t, "722cknb7zrny7sx1ipqmjmb9czwzawj5-hello"), NarHash: store.SHA256.Sum(nil)}
	if err := s.AddNAR(t.Context(), info, source, true); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
