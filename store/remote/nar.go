package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"larder/store"
	"larder/store/wire"
)

// NAR streams the NAR of a path that is valid there. It occupies a connection until
// it is closed. The context must live as long.
func (s *Store) NAR(ctx context.Context, n *store.NarInfo) (io.ReadCloser, error) {
	// A daemon that has begun with a NAR can't say any more that there is none.
	valid, err := s.IsValid(ctx, n.Path)
	if err != nil {
		return nil, err
	}
	if !valid {
		return nil, &store.PathError{Op: "copy from " + s.String(), Dir: s.opt.Dir, Path: n.Path, Err: store.ErrNotFound}
	}
	c, err := s.take(ctx)
	if err != nil {
		return nil, err
	}
	err = c.interruptible(ctx, func() error {
		if err := c.w.WriteRequest(&wire.NarFromPath{Path: n.Path}); err != nil {
			return err
		}
		return s.listener().Await(c.r, c.w)
	})
	if err != nil {
		s.give(c, err)
		return nil, fmt.Errorf("%s: %w", s, err)
	}
	return &narReader{store: s, ctx: ctx, c: c, nar: c.r.NAR(), stop: c.interruptOn(ctx)}, nil
}

type narReader struct {
	store  *Store
	ctx    context.Context
	c      *conn
	nar    io.Reader
	stop   func() bool
	err    error // of the last Read
	closed bool
}

func (n *narReader) Read(p []byte) (int, error) {
	if n.closed {
		return 0, io.ErrClosedPipe
	}
	k, err := n.nar.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		if n.ctx.Err() != nil {
			err = context.Cause(n.ctx)
		}
		err = fmt.Errorf("%s: %w", n.store, err)
	}
	n.err = err
	return k, err
}

// Close gives the connection back if the NAR was read to its end.
func (n *narReader) Close() error {
	if n.closed {
		return nil
	}
	n.closed = true
	whole := n.stop() && errors.Is(n.err, io.EOF)
	if whole {
		n.store.give(n.c, nil)
	} else {
		n.store.give(n.c, errUnread)
	}
	return nil
}

var errUnread = errors.New("the NAR was not read to its end")

// AddNAR copies an object to the daemon. All its references must be valid there. The
// daemon heeds dontCheckSigs only from those whom it trusts.
func (s *Store) AddNAR(ctx context.Context, info *store.PathInfo, nar io.Reader, dontCheckSigs bool) error {
	c, err := s.take(ctx)
	if err != nil {
		return err
	}
	err = c.interruptible(ctx, func() error {
		req := &wire.AddToStoreNar{Info: *info, DontCheckSigs: dontCheckSigs}
		if err := c.w.WriteRequest(req); err != nil {
			return err
		}
		listener := s.listener()
		if wire.BodyOf(req.Op(), c.w.Protocol.Version) == wire.Tunnelled {
			listener.Body = nar
			return listener.Await(c.r, c.w)
		}
		if err := c.w.Flush(); err != nil {
			return err
		}
		return s.sendFramed(c, listener, nar)
	})
	s.give(c, err)
	if err != nil {
		return fmt.Errorf("copy %s to %s: %w", info.Path, s, err)
	}
	return nil
}

// sendFramed sends a body and listens meanwhile: the daemon may refuse the object
// before it has all of it.
func (s *Store) sendFramed(c *conn, l wire.Listener, nar io.Reader) error {
	body := &body{Reader: nar}
	sent := make(chan error, 1)
	go func() {
		f := wire.NewFramedWriter(c.w)
		_, err := io.Copy(f, body)
		if err == nil {
			err = f.Close()
		} else {
			c.Close() // else the daemon waits for the rest, and we for the daemon
		}
		sent <- err
	}()
	err := l.Listen(c.r, c.w)
	body.unwanted.Store(true)
	var refused *wire.Error
	if err != nil && !errors.As(err, &refused) {
		c.Close() // nobody reads what is still being sent
	}
	sendErr := <-sent
	if body.err != nil {
		return body.err // the others follow from it
	}
	return cmp.Or(err, sendErr)
}

// body is what is copied. It ends as soon as nobody wants more of it.
type body struct {
	io.Reader
	unwanted atomic.Bool
	err      error // of the Reader; to be read after the last Read
}

func (b *body) Read(p []byte) (int, error) {
	if b.unwanted.Load() {
		return 0, io.EOF
	}
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}
