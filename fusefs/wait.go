package fusefs

import (
	"context"
	"errors"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"larder/store"
)

const (
	// signalPoll is how often the signals of a waiter are looked at once it was
	// interrupted: the kernel sends INTERRUPT for the first signal only.
	signalPoll = 20 * time.Millisecond

	// deadPoll is how often a waiter makes sure that the mount still lives. The
	// server cancels all requests when it ends, but one may have come just then.
	deadPoll = time.Second
)

// await realises an absent path for the process that asks and waits for it. It
// returns when the path has come (OK), cannot come (ENOENT) or failed (EIO), or
// when the process is to die or be stopped (EINTR). Leaving disturbs nobody: each
// waiter has a call of its own to the realiser, which joins them.
func (f *FS) await(cancel <-chan struct{}, caller fuse.Caller, n uint32, p store.StorePath) fuse.Status {
	ctx, leave := context.WithCancel(f.ctx)
	defer leave()
	if ctx.Err() != nil {
		return notConnected
	}
	result := make(chan error, 1)
	f.tasks.Go(func() { result <- f.realise(ctx, caller, n, p) })

	alive := time.NewTicker(deadPoll)
	defer alive.Stop()
	var signals <-chan time.Time
	for {
		select {
		case err := <-result:
			return f.verdict(err, p)
		case <-f.ctx.Done():
			return fuse.EINTR
		case <-alive.C:
			if f.dead() {
				return fuse.EINTR
			}
			continue
		case <-cancel:
			cancel = nil
			t := time.NewTicker(signalPoll)
			defer t.Stop()
			signals = t.C
		case <-signals:
		}
		if f.dead() || f.proc.mustLeave(caller.Pid) {
			return fuse.EINTR
		}
	}
}

// errNotHere says that the realiser succeeded, again and again, without effect.
var errNotHere = errors.New("it was realised but is not here")

// realise waits till nobody is deleting the path, then asks for it. It may be
// deleted again as soon as it has come, so it tries more than once.
func (f *FS) realise(ctx context.Context, caller fuse.Caller, n uint32, p store.StorePath) error {
	who := store.Caller{UID: caller.Uid, GID: caller.Gid, PID: f.proc.process(caller.Pid)}
	for range 5 {
		if done := f.retired.wait(n); done != nil {
			select {
			case <-done:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := f.realiser.Realise(ctx, who, p); err != nil || f.isPresent(n, p) {
			return err
		}
	}
	return errNotHere
}

// verdict translates what came of it.
func (f *FS) verdict(err error, p store.StorePath) fuse.Status {
	switch {
	case err == nil:
		return fuse.OK
	case errors.Is(err, store.ErrNotFound):
		return fuse.ENOENT
	case errors.Is(err, store.ErrReadOnly):
		return fuse.EROFS
	case f.ctx.Err() != nil:
		return fuse.EINTR
	default:
		f.log.Warn("an access failed", "path", p.String(), "err", err) // EIO does not say why
		return fuse.EIO
	}
}
