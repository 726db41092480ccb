package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	maxPause      = 10 * time.Second // between two attempts
	maxRetryAfter = time.Minute      // that a server may demand; we give up if it demands more
)

// transientError marks a failure after which another attempt makes sense.
type transientError struct {
	err      error
	after    time.Duration // the server asked for this pause
	noAnswer bool          // the server did not answer at all
	final    bool          // another attempt makes sense later, not at once
}

func (e *transientError) Error() string { return e.err.Error() }
func (e *transientError) Unwrap() error { return e.err }

// attempts counts the attempts at one thing.
type attempts struct {
	most   int
	made   int
	pause  *backoff.ExponentialBackOff
	outage *outage
}

func newAttempts(o *Options, out *outage) *attempts {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.Multiplier, b.MaxInterval = o.Backoff, 2, maxPause
	return &attempts{most: o.Attempts, pause: b, outage: out}
}

// again waits until it is time for another attempt after one that failed with err. If there should be none it returns why:
// err, or the cause of the end of ctx.
func (a *attempts) again(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var t *transientError
	if !errors.As(err, &t) || t.final {
		return err
	}
	a.made++
	if a.made >= a.most {
		if t.noAnswer {
			a.outage.begin(err)
		}
		return err
	}
	pause := a.pause.NextBackOff()
	if t.after > maxRetryAfter {
		return fmt.Errorf("%w (it asks to come back in %v)", err, t.after)
	}
	timer := time.NewTimer(max(pause, t.after))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// progress forgets the failures so far.
func (a *attempts) progress() {
	a.made = 0
	a.pause.Reset()
}

// outage remembers that a server does not answer, so that thousands of questions do not each wait to find out.
type outage struct {
	lasts time.Duration

	mu    sync.Mutex // guards until and err
	until time.Time
	err   error
}

func (o *outage) begin(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.until, o.err = time.Now().Add(o.lasts), err
}

// check returns an error while the server is left alone.
func (o *outage) check() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	left := time.Until(o.until)
	if left <= 0 {
		return nil
	}
	err := fmt.Errorf("it is left alone for another %v because it did not answer: %w", left.Round(time.Second), o.err)
	return &transientError{err: err, final: true}
}
