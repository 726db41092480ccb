package linux

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// Options of a Runner. The zero value works.
type Options struct {
	// MountPoints is a directory on the file system of the BuildStores, of this Runner alone, in which it keeps
	// mount points from build to build; it is made if it is absent, and what is in it survives a restart. With it, builds with
	// many inputs start several times faster. Empty: mount points are made and removed each time.
	MountPoints string
}

// Runner runs sandboxes. Its methods may be called concurrently.
type Runner struct {
	filter []byte // the seccomp program
	points *mountPoints

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
	return &Runner{filter: filter, points: points}, nil
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
	placed, err := r.points.prepare(s)
	defer placed.release()
	if err != nil {
		return nil, err
	}
	b, err := r.begin(c, s)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, b.kill)
	defer stop()
	result, err := b.follow(s, log)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return result, err
}

// running is a build on the daemon's side.
type running struct {
	control *control
	id      uint64
	answer  <-chan reply
	job     []byte
	socket  net.Conn // to the set-up process
	master  *os.File // of the pseudo-terminal
}

// begin has a set-up process started for s.
func (r *Runner) begin(c *control, s *sandbox.Spec) (_ *running, err error) {
	req := request{Network: s.Network, UID: s.UID, GID: s.GID, HostUID: s.HostUID, HostGID: s.HostGID}
	if req.HostUID == sandbox.CallingUser {
		req.HostUID = os.Geteuid()
	}
	if req.HostGID == sandbox.CallingUser {
		req.HostGID = os.Getegid()
	}
	j := job{Spec: s, HostRoot: req.HostUID == 0}
	if !s.NoSyscallFilter {
		j.Filter = r.filter
	}
	b := &running{control: c, job: encodeJob(&j)}
	if len(b.job) > maxJob {
		return nil, setupError(sandbox.StageSpec, "", "", fmt.Errorf("%d bytes, more than %d", len(b.job), maxJob))
	}

	master, slave, err := openTerminal(req.HostUID)
	if err != nil {
		return nil, err
	}
	defer slave.Close()
	socket, theirs, err := streamPair()
	if err != nil {
		master.Close()
		return nil, setupError(sandbox.StageLaunch, "", "", err)
	}
	defer theirs.Close()
	b.master, b.socket = master, socket
	b.id, b.answer, err = c.start(req, theirs, slave)
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// lingering is how long the log may go on when the builder and all that it started are dead. A builder with the host's
// network can send its terminal to a process that is not.
const lingering = time.Second

func (b *running) kill() { b.control.kill(b.id) }

func (b *running) close() {
	b.socket.Close()
	b.master.Close()
}

// follow sees b to its end.
func (b *running) follow(s *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
	defer b.close()
	ready, fault := b.setUp()
	start := time.Now()
	ended := make(chan reply, 1)
	go func() {
		answer := <-b.answer // it always comes
		// The builder is dead, and so is the log, unless somebody outside got a descriptor of the terminal.
		_ = b.master.SetReadDeadline(time.Now().Add(lingering))
		ended <- answer
	}()
	var logErr error
	if fault == nil && ready {
		logErr = copyLog(log, b.master)
	}
	// The log has ended, and with it the build: whoever still runs has closed it.
	b.kill()
	answer := <-ended
	switch {
	case fault != nil:
		return nil, fault.err()
	case answer.Fault != nil:
		return nil, answer.Fault.err()
	case !ready:
		return nil, setupError(sandbox.StageLaunch, "", "", fmt.Errorf("the set-up process died: %s", resultOf(answer)))
	case logErr != nil:
		return nil, logErr
	}
	result := resultOf(answer)
	result.Start, result.Stop = start, time.Now()
	return result, nil
}

// setUp gives the set-up process its job and hears how it went: ready means that it came as far as execve(2). Neither
// ready nor a fault: the process died, or there never was one.
func (b *running) setUp() (ready bool, fault *failure) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		head := binary.LittleEndian.AppendUint64(nil, uint64(len(b.job)))
		// If it does not read its job to the end, it says why, or dies and the launcher knows.
		buffers := net.Buffers{head, b.job}
		_, _ = buffers.WriteTo(b.socket)
	}()
	said, err := io.ReadAll(io.LimitReader(b.socket, 64<<10))
	if err != nil && len(said) == 0 {
		// A socket that was closed with unread data in it: the process died before it had read its job.
		said = nil
	}
	<-sent
	if len(said) > 0 && said[0] == readyByte {
		ready, said = true, said[1:]
	}
	if len(said) == 0 {
		return ready, nil
	}
	fault = &failure{}
	if err := json.Unmarshal(said, fault); err != nil {
		fault = newFailure(setupError(sandbox.StageLaunch, "", "", fmt.Errorf("the set-up process was cut off: %w", err)))
	}
	return ready, fault
}

// streamPair is a pair of connected stream sockets: one for this program, one to give away.
func streamPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "job socket")
	ours, err := packetConn(os.NewFile(uintptr(fds[0]), "job socket"))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

func resultOf(answer reply) *sandbox.Result {
	status := syscall.WaitStatus(answer.Status)
	r := &sandbox.Result{ExitCode: status.ExitStatus(), CPUUser: answer.User, CPUSystem: answer.System}
	if status.Signaled() {
		r.Signal = status.Signal()
	}
	return r
}
