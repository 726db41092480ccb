package cache

import (
	"context"
	"errors"
	"io"
	"time"
)

var errStalled = errors.New("the server stalled")

// minRate is the least number of bytes a second that counts as sending something.
const minRate = 64

// watch cancels a context when something takes too long. It does not run while it is at rest.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	limit  time.Duration
	timer  *time.Timer
}

// newWatch starts a watch over what is done with its context.
func newWatch(ctx context.Context, limit time.Duration) *watch {
	w := &watch{limit: limit}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(limit, func() { w.cancel(errStalled) })
	return w
}

func (w *watch) rest()  { w.timer.Stop() }
func (w *watch) start() { w.timer.Reset(w.limit) }

// end releases the watch; what still uses its context is cancelled.
func (w *watch) end() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// stalled reports whether it was the watch that ended the context.
func (w *watch) stalled() bool { return errors.Is(context.Cause(w.ctx), errStalled) }

// watched is a body under a watch: each Read must bring something within the limit, and all of them at least minRate. Time
// that the consumer takes does not count.
type watched struct {
	body  io.ReadCloser
	watch *watch

	waited time.Duration // in Read, since got was 0
	got    int64
}

func (r *watched) Read(p []byte) (int, error) {
	begin := time.Now()
	r.watch.start()
	n, err := r.body.Read(p)
	r.watch.rest()
	r.waited += time.Since(begin)
	r.got += int64(n)
	if r.waited > r.watch.limit {
		if r.got < int64(r.waited.Seconds()*minRate) {
			r.watch.cancel(errStalled)
			return n, errStalled
		}
		r.waited, r.got = 0, 0
	}
	return n, err
}

func (r *watched) Close() error {
	r.watch.end()
	return r.body.Close()
}
