package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"larder/realiser"
	"larder/store"
)

// Realise implements Service.
func (c *Client) Realise(ctx context.Context, _ store.Caller, r RealiseRequest, events func(realiser.Event)) (*realiser.Outcome, error) {
	b, err := json.Marshal(realiseBody{printTargets(r.Targets), r.Mode, r.KeepGoing, r.Rounds, r.KeepFailed})
	if err != nil {
		return nil, err
	}
	res, err := c.do(ctx, http.MethodPost, "realise", "application/json", bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	var outcome *realiser.Outcome
	err = lines(res, func(l line) (bool, error) {
		if l.Result != nil {
			outcome, err = l.Result.decode()
			return true, err
		}
		if l.Event != nil && events != nil {
			events(*l.Event)
		}
		return false, nil
	})
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, io.EOF):
		return nil, ErrCutOff
	}
	return outcome, err
}

// Plan implements Service.
func (c *Client) Plan(ctx context.Context, targets []realiser.Target) (*realiser.Plan, error) {
	p := &realiser.Plan{}
	return p, c.post(ctx, "plan", realiseBody{Targets: printTargets(targets)}, p)
}

// Why implements Service.
func (c *Client) Why(ctx context.Context, p store.StorePath) (*realiser.Explanation, error) {
	e := &realiser.Explanation{}
	return e, c.get(ctx, "why/"+p.String(), e)
}

// Status implements Service.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	s := &Status{}
	return s, c.get(ctx, "status", s)
}

// Events implements Service.
func (c *Client) Events(ctx context.Context, f func(realiser.Event) error) error {
	res, err := c.do(ctx, http.MethodGet, "events", "", nil)
	if err != nil {
		return err
	}
	err = lines(res, func(l line) (bool, error) {
		if l.Event == nil {
			return false, nil
		}
		return false, f(*l.Event)
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, io.EOF): // the daemon is shutting down
		return nil
	}
	return err
}

// Log implements Service.
func (c *Client) Log(ctx context.Context, p store.StorePath) (io.ReadCloser, error) {
	return c.open(ctx, "log/"+p.String())
}
