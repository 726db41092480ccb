package builder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"larder/realiser/result"
	"larder/realiser/userpool"
	"larder/sandbox"
)

// build is one run of a builder, with all that it needs and leaves behind.
type build struct {
	*Builder
	*Job
	ctx  context.Context
	name string // the derivation's, as an absolute path

	user      *userpool.Lock // nil: not yet, or not any more
	noChroot  bool           // the builder has the files of the host
	shares    bool           // it shares a place with others where there may be sockets
	scratch   *scratch
	storeTemp string // temporary name of the builder's store directory, "" if not made
	storeDir  string
	unroot    []func() // what the builder sees may be collected as garbage again
	described int      // paths and references in its graphs so far
	log       *Log
	result    *Result
	previous  *Result // of the round before, or nil
	known     bool    // further rounds tell nothing new
	kept      string  // the build directory, if it was kept although the builder succeeded
}

// limitError is why a builder was stopped.
type limitError struct {
	status result.Status
	text   string
}

func (e *limitError) Error() string { return e.text }

type refusal struct{ error }

func (b *build) failed(s result.Status, err error) *result.BuildError {
	return &result.BuildError{Drv: b.Path, Status: s, Err: err}
}

func (b *build) failf(s result.Status, format string, args ...any) *result.BuildError {
	return b.failed(s, fmt.Errorf(format, args...))
}

// withLog completes an error with what the log says.
func (b *build) withLog(e *result.BuildError) *result.BuildError {
	e.LogPath, e.LastLines = b.log.file.path, b.log.Tail()
	return e
}

// run runs the builder once.
func (b *build) run() (failure *result.BuildError) {
	var err error
	if b.user, err = b.opt.Users.Acquire(b.ctx, func() { b.Watch.Waiting("build user") }); err != nil {
		return b.failf(result.MiscFailure, "build of '%s': %w", b.name, err)
	}
	if b.scratch, err = newScratch(b.opt.BuildDir, b.Drv.Name, b.user.Identity); err != nil {
		return b.failed(result.MiscFailure, err)
	}
	b.log = newLog(b.LogPath, b.opt.LogLines)
	b.Watch.Log(b.log)
	defer func() {
		b.Watch.Log(nil)
		b.finish(failure)
	}()
	b.noChroot = !b.chroot(b.Drv, b.Asks)
	if err := b.makeStoreDir(); err != nil {
		return b.failf(result.MiscFailure, "build of '%s': %w", b.name, err)
	}
	spec, err := b.spec()
	if refused := (refusal{}); errors.As(err, &refused) {
		return b.failed(result.InputRejected, err)
	} else if err != nil {
		return b.notRun(err)
	}
	b.Watch.Started()
	ended, err := b.runSandbox(spec)
	if ended != nil {
		r := b.result
		r.Start, r.Stop, r.CPUUser, r.CPUSystem = ended.Start, ended.Stop, ended.CPUUser, ended.CPUSystem
	}
	if err != nil {
		return b.notRun(err)
	} else if !ended.Success() {
		return b.failedBuilder(ended)
	}
	b.Watch.Ended()
	if err := b.collect(); err != nil {
		return err
	}
	return b.judge()
}

// releaseUser gives the build's user to others; nothing belongs to it any more.
func (b *build) releaseUser() {
	if b.user != nil {
		b.user.Release()
		b.user = nil
	}
}

// runSandbox runs the builder within its limits; *limitError says which was hit.
func (b *build) runSandbox(spec *sandbox.Spec) (*sandbox.Result, error) {
	ctx, cancel := context.WithCancelCause(b.ctx)
	defer cancel(nil)
	// Each stops the builder and waits for nothing.
	after := func(d time.Duration, e *limitError) *time.Timer {
		return time.AfterFunc(d, func() { cancel(e) })
	}
	if d := b.opt.Timeout; d > 0 {
		defer after(d, &limitError{result.TimedOut, fmt.Sprintf("building of '%s' timed out after %v", b.name, d)}).Stop()
	}
	if d := b.opt.MaxSilent; d > 0 {
		silence := after(d, &limitError{result.TimedOut, fmt.Sprintf("building of '%s' timed out after %v of silence", b.name, d)})
		defer silence.Stop()
		b.log.onWrite = func() { silence.Reset(d) }
	}
	b.log.maxSize = b.opt.MaxLogSize
	b.log.onOverflow = func() {
		cancel(&limitError{result.LogLimitExceeded, fmt.Sprintf("building of '%s' killed after writing more than %d bytes of log output", b.name, b.opt.MaxLogSize)})
	}
	b.log.onLine, b.log.onMessage = b.Watch.Line, b.Watch.Message
	ended, err := b.opt.Sandbox.Run(ctx, spec, b.log)
	var limit *limitError
	if errors.As(context.Cause(ctx), &limit) {
		return nil, limit
	}
	return ended, err
}

// notRun says what became of a builder that did not come to its own end.
func (b *build) notRun(err error) *result.BuildError {
	var limit *limitError
	if errors.As(err, &limit) {
		return b.failed(limit.status, limit)
	}
	var setup *sandbox.SetupError
	if errors.As(err, &setup) && setup.Stage == sandbox.StageExec {
		return b.failf(result.PermanentFailure, "builder for '%s' could not be executed: %w", b.name, err)
	}
	return b.failf(result.MiscFailure, "build of '%s': %w", b.name, err)
}

// failedBuilder says how a builder failed.
func (b *build) failedBuilder(ended *sandbox.Result) *result.BuildError {
	what := fmt.Sprintf("failed with exit code %d", ended.ExitCode)
	if ended.Signal != 0 {
		what = fmt.Sprintf("failed due to signal %d (%s)", int(ended.Signal), ended.Signal)
	}
	switch {
	case ended.Limit != "":
		return b.failf(result.TransientFailure, "builder for '%s' %s; it had reached its %s", b.name, what, ended.Limit)
	case b.diskFull():
		return b.failf(result.TransientFailure, "builder for '%s' %s; possibly because the disk is full", b.name, what)
	case networked(b.Drv): // a download, as a rule
		return b.failf(result.TransientFailure, "builder for '%s' %s", b.name, what)
	}
	return b.failf(result.PermanentFailure, "builder for '%s' %s", b.name, what)
}

// leastFree is how many bytes must be free for a failure not to be blamed on a
// full disk.
const leastFree = 8 << 20

func (b *build) diskFull() bool {
	for _, dir := range []string{b.store.ObjectDir(), b.opt.BuildDir} {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err == nil && st.Blocks > 0 && st.Bavail*uint64(st.Bsize) < leastFree {
			return true
		}
	}
	return false
}
