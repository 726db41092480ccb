package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"larder/store/wire"
)

// conn is a connection that has been through the handshake.
type conn struct {
	net.Conn
	r        *wire.Reader
	w        *wire.Writer
	greeting wire.Greeting
	used     bool // it has lain idle: the daemon may have gone since
	broken   bool // it was interrupted
}

// take returns an idle connection or makes one. It waits while there are too many.
func (s *Store) take(ctx context.Context) (*conn, error) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	var c *conn
	if n := len(s.idle); n > 0 {
		c, s.idle = s.idle[n-1], s.idle[:n-1]
	}
	s.mu.Unlock()
	if c != nil {
		c.used = true
		return c, nil
	}
	c, err := s.connect(ctx)
	if err != nil {
		<-s.slots
		return nil, fmt.Errorf("cannot connect to %s: %w", s, err)
	}
	return c, nil
}

// give takes a connection back. It is kept unless err broke it.
func (s *Store) give(c *conn, err error) {
	var refused *wire.Error
	whole := err == nil || errors.As(err, &refused) || errors.Is(err, wire.ErrUnsupported)
	s.mu.Lock()
	keep := whole && !c.broken && !s.closed
	if keep {
		s.idle = append(s.idle, c)
	}
	s.mu.Unlock()
	if !keep {
		c.Close()
	}
	<-s.slots
}

func (s *Store) connect(ctx context.Context) (*conn, error) {
	raw, err := s.opt.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, r: wire.NewReader(raw, s.opt.Dir, wire.Limits{}), w: wire.NewWriter(raw, s.opt.Dir)}
	if err := c.interruptible(ctx, func() error { return s.greet(c) }); err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

func (s *Store) greet(c *conn) (err error) {
	if c.greeting, err = wire.DialDaemon(c.r, c.w, wire.Protocol{Version: wire.MaxVersion}); err != nil {
		return err
	}
	if err := s.listener().Await(c.r, c.w); err != nil || s.opt.Settings == nil {
		return err
	}
	if err := c.w.WriteRequest(s.opt.Settings); err != nil {
		return err
	}
	return s.listener().Await(c.r, c.w)
}

func (s *Store) listener() wire.Listener { return wire.Listener{Log: s.opt.Log} }

// interruptible makes what f does with the connection end with the context. Once
// that has happened the connection is broken.
func (c *conn) interruptible(ctx context.Context, f func() error) error {
	stop := c.interruptOn(ctx)
	err := f()
	if !stop() {
		c.broken = true
		return context.Cause(ctx)
	}
	return err
}

// interruptOn sets a deadline in the past when the context ends. The function that it
// returns is false if that has happened.
func (c *conn) interruptOn(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
}

// do sends a request and reads its reply, if it has one. A connection that lay idle
// may have been closed by the daemon; then it is tried once more with a new one.
func (s *Store) do(ctx context.Context, req wire.Request, reply wire.Message) error {
	for {
		c, err := s.take(ctx)
		if err != nil {
			return err
		}
		used, before := c.used, c.r.Offset()
		err = c.interruptible(ctx, func() error {
			if err := c.w.WriteRequest(req); err != nil {
				return err
			}
			if err := s.listener().Await(c.r, c.w); err != nil || reply == nil {
				return err
			}
			return c.r.Message(reply)
		})
		unanswered := c.r.Offset() == before
		s.give(c, err)
		if err == nil {
			return nil
		}
		var refused *wire.Error
		if used && unanswered && ctx.Err() == nil && !errors.As(err, &refused) && !errors.Is(err, wire.ErrUnsupported) {
			continue
		}
		return fmt.Errorf("%s: %w", s, err)
	}
}
