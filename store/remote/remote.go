package remote

import (
	"context"
	"net"
	"sync"

	"larder/store"
	"larder/store/wire"
)

// Options say where the daemon is and how to talk to it.
type Options struct {
	// Dir is the store directory of the daemon; empty: the default one. It must be
	// right, or no path can be read.
	Dir store.Dir
	// Dial connects to the daemon.
	Dial func(context.Context) (net.Conn, error)
	// Name is what messages call it: "unix:///nix/var/nix/daemon-socket/socket".
	Name string
	// Settings are sent on each connection; nil: the daemon's own apply.
	Settings *wire.SetOptions
	// Log gets what the daemon says while it works, from any goroutine; nil: nothing does.
	Log func(wire.LogMessage)
	// Connections is how many there may be at once; 0 means 4.
	Connections int
	// Order is the priority as a substituter, lowest first; 0 means 50.
	Order int
}

// Unix dials a daemon's socket on this machine.
func Unix(path string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
}

// Store is a daemon. Its methods may be called concurrently. Close it after use.
type Store struct {
	opt   Options
	slots chan struct{} // one for each connection that is in use

	mu     sync.Mutex // guards the rest
	idle   []*conn
	closed bool
}

// New does not connect yet.
func New(opt Options) *Store {
	if opt.Dir == "" {
		opt.Dir = store.DefaultDir
	}
	if opt.Connections == 0 {
		opt.Connections = 4
	}
	if opt.Order == 0 {
		opt.Order = 50
	}
	return &Store{opt: opt, slots: make(chan struct{}, opt.Connections)}
}

func (s *Store) String() string { return s.opt.Name }

// Dir is the store directory.
func (s *Store) Dir() store.Dir { return s.opt.Dir }

// Close closes the connections that are not in use, and the others when they are no
// longer.
func (s *Store) Close() error {
	s.mu.Lock()
	idle := s.idle
	s.idle, s.closed = nil, true
	s.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
	return nil
}

// Greeting is what the daemon says of itself, and the protocol that it speaks.
func (s *Store) Greeting(ctx context.Context) (wire.Greeting, wire.Protocol, error) {
	c, err := s.take(ctx)
	if err != nil {
		return wire.Greeting{}, wire.Protocol{}, err
	}
	defer s.give(c, nil)
	return c.greeting, c.r.Protocol, nil
}
