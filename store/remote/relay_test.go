package remote_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"larder/store"
	"larder/store/wire"
)

// relay is a daemon that knows only what another one knows.
type relay struct {
	*nix
	peer
}

// startRelay serves on a socket until the test ends, and returns its URL.
func startRelay(t *testing.T, n *nix) string {
	t.Helper()
	socket := n.base + "/relay"
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// One after the other: a client is gone when the next one comes.
			if err := serveRelay(n, c); err != nil {
				t.Errorf("the relay: %v", err)
			}
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return "unix://" + socket
}

func serveRelay(n *nix, c net.Conn) error {
	r := &relay{n, peer{Conn: c, r: wire.NewReader(c, n.Dir(), wire.Limits{}), w: wire.NewWriter(c, n.Dir())}}
	if err := wire.AcceptClient(r.r, r.w, wire.Protocol{Version: wire.MaxVersion}, wire.Greeting{NixVersion: "2.8.0", Trust: wire.Trusted}); err != nil {
		return err
	}
	r.logger = wire.NewLogger(r.w)
	if err := r.logger.Reply(nil); err != nil {
		return err
	}
	for {
		req, err := r.r.ReadRequest()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := r.answer(req); err != nil {
			return fmt.Errorf("%s: %w", req.Op(), err)
		}
	}
}

func (r *relay) answer(req wire.Request) error {
	if err := r.logger.Open(); err != nil {
		return err
	}
	reply, err := r.ask(req)
	if err != nil {
		return r.logger.Fail(&wire.Error{Message: err.Error()})
	}
	if nar, ok := req.(*wire.NarFromPath); ok {
		return r.sendNAR(nar.Path)
	}
	return r.logger.Reply(reply)
}

func (r *relay) ask(req wire.Request) (wire.Message, error) {
	ctx := r.t.Context()
	switch req := req.(type) {
	case *wire.SetOptions, *wire.NarFromPath:
		return nil, nil
	case *wire.AddTempRoot:
		return &wire.Done{}, nil
	case *wire.IsValidPath:
		ok, err := r.IsValid(ctx, req.Path)
		return &wire.Bool{Value: ok}, err
	case *wire.QueryValidPaths:
		paths, err := r.Valid(ctx, req.Paths)
		return &wire.Paths{Paths: paths}, err
	case *wire.QueryAllValidPaths:
		paths, err := r.All(ctx)
		return &wire.Paths{Paths: paths}, err
	case *wire.QueryReferrers:
		paths, err := r.Referrers(ctx, req.Path)
		return &wire.Paths{Paths: paths}, err
	case *wire.QueryPathInfo:
		info, err := r.PathInfo(ctx, req.Path)
		if errors.Is(err, store.ErrNotValid) {
			return &wire.OptPathInfo{}, nil
		}
		return &wire.OptPathInfo{Info: info}, err
	case *wire.QueryMissing:
		return r.Missing(ctx, req.Paths)
	case *wire.BuildPathsWithResults:
		const alreadyValid = 2
		var results wire.BuildResults
		for _, p := range req.Paths {
			results.Results = append(results.Results, wire.KeyedBuildResult{Path: p, Result: wire.BuildResult{Status: alreadyValid}})
		}
		return &results, nil
	case *wire.QueryPathFromHashPart:
		p, err := r.PathFromHashPart(ctx, req.HashPart)
		return &wire.OptPath{Path: p}, err
	}
	return nil, fmt.Errorf("%s is not relayed", req.Op())
}

func (r *relay) sendNAR(p store.StorePath) error {
	info, err := r.NarInfo(r.t.Context(), p)
	if err != nil {
		return err
	}
	nar, err := r.NAR(r.t.Context(), info)
	if err != nil {
		return err
	}
	defer nar.Close()
	if err := r.logger.Last(); err != nil {
		return err
	}
	if _, err := io.Copy(r.w, nar); err != nil {
		return err
	}
	return r.w.Flush()
}

// TestRealClientOfARelay: Nix's own client sees the same through us as without.
func TestRealClientOfARelay(t *testing.T) {
	n := startNix(t)
	drv, source := n.instantiate()
	path := n.Dir().Join(drv)
	direct, relayed := "unix://"+n.base+"/socket", startRelay(t, n)
	for _, command := range [][]string{
		{"nix-store", "-q", "--references", path},
		{"nix-store", "-q", "--referrers", n.Dir().Join(source)},
		{"nix-store", "-qR", path},
		{"nix-store", "-q", "--hash", path},
		{"nix", "--extra-experimental-features", "nix-command", "path-info", "--json", "--recursive", "--all"},
		{"nix", "--extra-experimental-features", "nix-command", "store", "dump-path", n.Dir().Join(source)},
	} {
		want := n.run(command[0], append(command[1:], "--store", direct)...)
		if got := n.run(command[0], append(command[1:], "--store", relayed)...); got != want || got == "" {
			t.Errorf("%q: got %s, want %s", command, got, want)
		}
	}
}
