package linux

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// launch is the launcher's main program. It returns when the daemon closed the control socket or died, and then the
// kernel kills everything in this process namespace, because this is its process 1.
func launch() error {
	unix.CloseOnExec(inheritedFD)
	conn, err := unixConn(os.NewFile(inheritedFD, "control socket"))
	if err != nil {
		return err
	}
	l := &launcher{conn: conn, builds: make(map[uint64]*build)}
	for {
		var req request
		files, err := receive(conn, &req)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case req.Kill:
			closeAll(files)
			l.kill(req.ID)
		default:
			b := &build{}
			l.mu.Lock()
			l.builds[req.ID] = b
			l.mu.Unlock()
			go l.run(req, b, files)
		}
	}
}

// launcher makes children, which become builders, and waits for them.
type launcher struct {
	conn *net.UnixConn

	mu     sync.Mutex        // guards what follows
	builds map[uint64]*build // from the start request to the reply
	spare  *child            // started ahead of need, without the host's network; nil: none
}

// build is one start request under way. Its fields are guarded by launcher.mu.
type build struct {
	process *os.Process // nil until it is there
	killed  bool        // a kill came
}

func (l *launcher) run(req request, b *build, files []*os.File) {
	answer := reply{ID: req.ID}
	c, err := l.start(req, b, files)
	closeAll(files)
	if err != nil {
		answer.Fault = newFailure(err)
	} else {
		go l.refill()
	}
	if c != nil {
		// An error of Wait would mean that the process is not ours.
		if state, err := c.process.Wait(); err == nil {
			answer.Status = uint32(state.Sys().(syscall.WaitStatus))
			answer.User, answer.System = state.UserTime(), state.SystemTime()
		} else if answer.Fault == nil {
			answer.Fault = newFailure(setupError(sandbox.StageLaunch, "wait", "", err))
		}
		c.close()
	}
	l.mu.Lock()
	delete(l.builds, req.ID)
	l.mu.Unlock()
	// If the daemon is gone, the control socket's reader ends this process.
	_ = send(l.conn, answer)
}

// start gives a child its identity and its descriptors. With an error, a child that is returned all the same
// has been killed and must be waited for.
func (l *launcher) start(req request, b *build, files []*os.File) (*child, error) {
	var cgroup *os.File
	switch len(files) {
	case 2:
	case 3:
		cgroup, files = files[2], files[:2]
	default:
		return nil, setupError(sandbox.StageLaunch, "start request", "", fmt.Errorf("%d descriptors came with it", len(files)))
	}
	if c := l.takeSpare(req, cgroup); c != nil {
		err := l.handOver(c, req, b, files)
		if err == nil {
			return c, nil
		}
		// Somebody may have killed it while it waited. It has not begun, so another one can.
		l.mu.Lock()
		b.process = nil
		l.mu.Unlock()
		c.discard()
	}
	c, err := newChild(req, cgroup)
	if err != nil {
		return nil, err
	}
	if err := l.handOver(c, req, b, files); err != nil {
		_ = c.process.Kill()
		return c, err
	}
	return c, nil
}

// handOver makes c the process of b.
func (l *launcher) handOver(c *child, req request, b *build, files []*os.File) error {
	l.mu.Lock()
	b.process = c.process
	killed := b.killed
	l.mu.Unlock()
	if killed {
		return setupError(sandbox.StageLaunch, "", "", unix.EINTR)
	}
	if err := c.mapIDs(req); err != nil {
		return err
	}
	return setupError(sandbox.StageLaunch, "sendmsg", "", send(c.handover, struct{}{}, files...))
}

func (l *launcher) kill(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.builds[id]
	if b == nil {
		return
	}
	b.killed = true
	if b.process != nil {
		// It may be gone already; os.Process knows.
		_ = b.process.Kill()
	}
}

// takeSpare returns a child that waits already, if there is one and it is of the kind that req needs.
func (l *launcher) takeSpare(req request, cgroup *os.File) *child {
	if cgroup != nil || req.UIDCount > 1 || namespaces(req) != namespaces(request{}) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.spare
	l.spare = nil
	return c
}

// refill makes a new spare, so that the next build need not wait for a program to start and for a network namespace.
// A failure is left to the build that comes, which reports it.
func (l *launcher) refill() {
	l.mu.Lock()
	full := l.spare != nil
	l.mu.Unlock()
	if full {
		return
	}
	c, err := newChild(request{}, nil)
	if err != nil {
		return
	}
	l.mu.Lock()
	if l.spare == nil {
		l.spare, c = c, nil
	}
	l.mu.Unlock()
	if c != nil {
		c.discard()
	}
}
