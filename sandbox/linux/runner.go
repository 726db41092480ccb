package linux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"larder/sandbox"
)

// Options of a Runner. The zero value works.
type Options struct {
	// MountPoints is a directory on the file system of the BuildStores, of this Runner alone, in which it keeps
	// mount points from build to build; it is made if it is absent, and what is in it survives a restart. With it, builds with
	// many inputs start several times faster. Empty: mount points are made and removed each time.
	MountPoints string
	// Cgroup is the control group (a directory of version 2) below which builds get theirs, if their Spec asks for one; see
	// sandbox.Cgroup. This program must be allowed to make groups and move processes there. Empty: the group that this program is in, or
	// the one above, if systemd has delegated it (Delegate=yes). If neither is there, builds with limits fail, and others go without.
	Cgroup string
}

// Runner runs sandboxes. Its methods may be called concurrently.
type Runner struct {
	filter []byte // the seccomp program
	points *mountPoints
	groups *cgroups
	// plainStore: overlays were refused, so none is tried any more.
	plainStore atomic.Bool

	mu      sync.Mutex // guards what follows
	closed  bool
	control *control // nil until the first Run

	closing sync.Once
	runs    sync.WaitGroup // Run calls; added to under mu while not closed
}

// New compiles the system call filter; it fails if that cannot be done. The launcher process starts with the first Run.
func New(o Options) (*Runner, error) {
	filter, err := compileFilter()
	if err != nil {
		return nil, fmt.Errorf("sandbox: system call filter: %w", err)
	}
	points, err := openMountPoints(o.MountPoints)
	if err != nil {
		return nil, fmt.Errorf("sandbox: mount points: %w", err)
	}
	return &Runner{filter: filter, points: points, groups: newCgroups(o.Cgroup)}, nil
}

// ErrClosed is what Run returns after Close.
var ErrClosed = errors.New("sandbox: the runner is closed")

// Close kills all builds under way (their Run returns an error), ends the launcher and waits for all that.
func (r *Runner) Close() error {
	r.mu.Lock()
	r.closed = true
	c := r.control
	r.control = nil
	r.mu.Unlock()
	if c != nil {
		c.close()
	}
	r.runs.Wait()
	r.closing.Do(r.points.close)
	return nil
}

// launcher returns a living launcher, a new one if the last has died, and counts the caller among runs.
func (r *Runner) launcher() (*control, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	if r.control == nil || !r.control.alive() {
		c, err := startLauncher()
		if err != nil {
			return nil, err
		}
		r.control = c
	}
	r.runs.Add(1)
	return r.control, nil
}

// Run runs s and returns when every process of the build is dead and the mount points in s.BuildStore are gone. What
// the builder writes to its standard output and error is written to log as it comes, by one goroutine.
//
// A builder that ran and failed is no error: the Result tells. Errors:
//   - *sandbox.SetupError: the builder's program was never started;
//   - context.Cause(ctx): ctx was cancelled, the build was killed;
//   - the error of log.Write, after which the build was killed.
func (r *Runner) Run(ctx context.Context, s *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
	if err := s.Validate(); err != nil {
		return nil, setupError(sandbox.StageSpec, "", "", err)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c, err := r.launcher()
	if err != nil {
		return nil, err
	}
	defer r.runs.Done()
	defer holdMode(s.BuildStore)()
	s = resolved(s)
	if !s.NoChroot {
		return r.runPlain(ctx, c, s, log)
	}
	if !r.plainStore.Load() {
		result, err := r.runOverlay(ctx, c, s, log)
		if !overlayRefused(err) {
			return result, err
		}
		r.plainStore.Store(true)
	}
	return r.runPlain(ctx, c, s, log)
}

// holdMode gives dir its mode back. Where the builder is the calling user it is its owner, and may have locked everybody out.
func holdMode(dir string) (restore func()) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {} // who needs it will say so
	}
	st, err := f.Stat()
	return func() {
		if err == nil {
			_ = f.Chmod(st.Mode())
		}
		f.Close()
	}
}

// resolved is s with ids that mean the same in every process. Without chroot they are the same inside.
func resolved(s *sandbox.Spec) *sandbox.Spec {
	r := *s
	if r.HostUID == sandbox.CallingUser {
		r.HostUID = os.Geteuid()
	}
	if r.HostGID == sandbox.CallingUser {
		r.HostGID = os.Getegid()
	}
	if r.NoChroot {
		r.UID, r.GID = r.HostUID, r.HostGID
	}
	return &r
}

// runPlain runs s with BuildStore as its store, into which the inputs are mounted.
func (r *Runner) runPlain(ctx context.Context, c *control, s *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
	if s.NoChroot {
		if err := checkHomeless(homeless); err != nil {
			return nil, err
		}
	}
	placed, err := r.points.prepare(s)
	defer placed.release()
	if err != nil {
		return nil, err
	}
	return r.run(ctx, c, &job{Spec: s, PlainStore: s.NoChroot}, log)
}

// runOverlay runs s, a build without chroot, with BuildStore over all objects as its store.
func (r *Runner) runOverlay(ctx context.Context, c *control, s *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
	if err := checkHomeless(homeless); err != nil {
		return nil, err
	}
	layers, err := prepareLayers(s)
	defer layers.release()
	if err != nil {
		return nil, err
	}
	return r.run(ctx, c, &job{Spec: s}, log)
}

// launches is how often a build is started whose child dies before it is the builder. Somebody may have killed it while it waited for work; that it
// was a spare, and dead, need not show before it has its job.
const launches = 3

func (r *Runner) run(ctx context.Context, c *control, j *job, log io.Writer) (*sandbox.Result, error) {
	for n := 1; ; n++ {
		result, err := r.runOnce(ctx, c, j, log)
		if n == launches || !errors.Is(err, errChildDied) {
			return result, err
		}
	}
}

func (r *Runner) runOnce(ctx context.Context, c *control, j *job, log io.Writer) (*sandbox.Result, error) {
	group, err := r.groups.open(j.Spec.Cgroup)
	if err != nil {
		return nil, err
	}
	defer group.remove()
	if err := group.own(j.Spec); err != nil {
		return nil, err
	}
	b, err := r.begin(c, j, group)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, b.kill)
	defer stop()
	result, err := b.follow(log)
	group.finish(result)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return result, err
}
