package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"larder/store"
)

var errClosed = errors.New("the substituter is closed")

// acquire waits until another process may be at work.
func (p *Program) acquire(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *Program) release() { <-p.slots }

// withSession calls ask with a session that nobody else has. If an idle one turns out to have ended meanwhile (errGone), ask
// is called again with another.
func (p *Program) withSession(ctx context.Context, ask func(*session) error) error {
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer p.release()
	for {
		s, used, err := p.session(ctx)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, s.kill)
		err = ask(s)
		if stop() && goesOn(err) {
			p.put(s)
			return err
		}
		s.abandon()
		if used && ctx.Err() == nil && errors.Is(err, errGone) {
			continue
		}
		return died(err)
	}
}

// died says what the end of the output means.
func died(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it ended in the middle of an answer: %w", err)
	}
	return err
}

// session takes an idle session (used), or begins one. The caller has a slot.
func (p *Program) session(ctx context.Context) (s *session, used bool, err error) {
	p.mu.Lock()
	closed, down := p.closed, p.down
	if time.Now().After(p.downUntil) {
		down = nil
	}
	if n := len(p.idle); n > 0 && !closed {
		s = p.idle[n-1]
		p.idle = p.idle[:n-1]
	}
	p.mu.Unlock()
	switch {
	case closed:
		return nil, false, errClosed
	case s != nil:
		return s, true, nil
	case errors.Is(down, store.ErrNotFound):
		return nil, false, down
	case down != nil:
		return nil, false, fmt.Errorf("it is left alone, because starting it failed lately: %w", down)
	}
	s, err = p.begin(ctx)
	if err != nil && ctx.Err() == nil {
		p.mu.Lock()
		p.down, p.downUntil = err, time.Now().Add(p.opt.DownTime)
		p.mu.Unlock()
	}
	return s, false, err
}

// put gives a session back.
func (p *Program) put(s *session) {
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.idle = append(p.idle, s)
	}
	p.mu.Unlock()
	if closed {
		s.end()
	}
}
