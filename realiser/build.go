package realiser

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"larder/sandbox"
	"larder/store"
)

// build is one run of a builder, with all that it needs and leaves behind. The
// import locks of the outputs are held all the time, a slot and a user until
// nothing of the builder is left but its outputs.
type build struct {
	*drvRun
	inputs  []store.StorePath          // the closure that the builder sees
	outputs map[string]store.StorePath // all of them
	absent  map[string]store.StorePath // those that are going to be registered

	user      BuildUser
	scratch   *scratch
	storeTemp string // temporary name of the builder's store directory, "" if not made
	storeDir  string
	log       *buildLog
	made      []*made // what there is to register
}

// limitError is why a builder was stopped.
type limitError struct {
	status Status
	text   string
}

func (e *limitError) Error() string { return e.text }

// run runs the builder and collects what it made. Nothing is registered yet.
func (b *build) run() (res result) {
	var release func()
	var err error
	if b.user, release, err = b.users.take(); err != nil {
		return b.g.failf(MiscFailure, "build of '%s': %w", b.name, err)
	}
	defer release()
	if b.scratch, err = newScratch(b.opt.BuildDir, b.drv.Name, b.user); err != nil {
		return b.g.failed(MiscFailure, err)
	}
	b.log = newBuildLog(b.logPath(b.path), b.opt.LogLines)
	b.graph.setLog(b.g, b.log)
	defer func() {
		b.graph.setLog(b.g, nil)
		b.finish(&res)
	}()
	if err := b.makeStoreDir(); err != nil {
		return b.g.failf(MiscFailure, "build of '%s': %w", b.name, err)
	}
	spec, err := b.spec()
	if isRefusal(err) {
		return b.g.failed(InputRejected, err)
	} else if err != nil {
		return b.g.failf(MiscFailure, "build of '%s': %w", b.name, err)
	}
	b.enter(b.g, PhaseBuilding, "")
	ended, err := b.runSandbox(spec)
	if err != nil {
		res = b.notRun(err)
	} else if !ended.Success() {
		res = b.failedBuilder(ended)
	} else {
		b.enter(b.g, PhaseRegistering, "")
		res = b.collect()
	}
	if ended != nil {
		res.start, res.stop, res.cpuUser, res.cpuSystem = ended.Start, ended.Stop, ended.CPUUser, ended.CPUSystem
	}
	return res
}

// runSandbox runs the builder within its limits; *limitError says which was hit.
func (b *build) runSandbox(spec *sandbox.Spec) (*sandbox.Result, error) {
	ctx, cancel := context.WithCancelCause(b.g.ctx)
	defer cancel(nil)
	// Each stops the builder and waits for nothing.
	after := func(d time.Duration, e *limitError) *time.Timer {
		return time.AfterFunc(d, func() { cancel(e) })
	}
	if d := b.opt.Timeout; d > 0 {
		defer after(d, &limitError{TimedOut, fmt.Sprintf("building of '%s' timed out after %v", b.name, d)}).Stop()
	}
	if d := b.opt.MaxSilent; d > 0 {
		silence := after(d, &limitError{TimedOut, fmt.Sprintf("building of '%s' timed out after %v of silence", b.name, d)})
		defer silence.Stop()
		b.log.onWrite = func() { silence.Reset(d) }
	}
	b.log.maxSize = b.opt.MaxLogSize
	b.log.onOverflow = func() {
		cancel(&limitError{LogLimitExceeded, fmt.Sprintf("building of '%s' killed after writing more than %d bytes of log output", b.name, b.opt.MaxLogSize)})
	}
	b.log.onLine = func(line string) {
		ev := b.event(b.g, GoalLog)
		ev.Line = line
		b.events.publish(ev)
	}
	ended, err := b.opt.Sandbox.Run(ctx, spec, b.log)
	var limit *limitError
	if errors.As(context.Cause(ctx), &limit) {
		return nil, limit
	}
	return ended, err
}

// notRun makes the result of a builder that did not come to its own end.
func (b *build) notRun(err error) result {
	var limit *limitError
	if errors.As(err, &limit) {
		return b.g.failed(limit.status, limit)
	}
	var setup *sandbox.SetupError
	if errors.As(err, &setup) && setup.Stage == sandbox.StageExec {
		return b.g.failf(PermanentFailure, "builder for '%s' could not be executed: %w", b.name, err)
	}
	return b.g.failf(MiscFailure, "build of '%s': %w", b.name, err)
}

// failedBuilder makes the result of a builder that failed.
func (b *build) failedBuilder(ended *sandbox.Result) result {
	what := fmt.Sprintf("failed with exit code %d", ended.ExitCode)
	if ended.Signal != 0 {
		what = fmt.Sprintf("failed due to signal %d (%s)", int(ended.Signal), ended.Signal)
	}
	switch {
	case b.diskFull():
		return b.g.failf(TransientFailure, "builder for '%s' %s; possibly because the disk is full", b.name, what)
	case b.fixed(): // a download, as a rule
		return b.g.failf(TransientFailure, "builder for '%s' %s", b.name, what)
	}
	return b.g.failf(PermanentFailure, "builder for '%s' %s", b.name, what)
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

// finish completes the result with what the log says, and removes what the
// build leaves behind.
func (b *build) finish(res *result) {
	if err := b.log.Close(); err != nil {
		b.opt.Logger.Warn("build log is incomplete", "drv", b.path.String(), "err", err)
	}
	if res.err != nil {
		res.err.LogPath, res.err.LastLines = b.log.path, b.log.Tail()
	}
	if b.storeTemp != "" {
		if err := b.store.DropTemp(b.storeTemp); err != nil {
			b.opt.Logger.Warn("outputs of a build could not be removed", "drv", b.path.String(), "err", err)
		}
	}
	if b.opt.KeepFailed && res.err != nil && b.g.ctx.Err() == nil {
		var err error
		if res.err.KeptDir, err = b.scratch.keep(); err != nil {
			b.opt.Logger.Warn("build directory is kept, but", "drv", b.path.String(), "err", err)
		}
		return
	}
	if err := b.scratch.remove(); err != nil {
		b.opt.Logger.Warn("build directory could not be removed", "drv", b.path.String(), "err", err)
	}
}
