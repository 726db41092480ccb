package linux

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// launch is the launcher's main program. It returns when the daemon closed the control socket or died, and then the
// kernel kills everything in this process namespace, because this is its process 1.
func launch() error {
	unix.CloseOnExec(inheritedFD)
	conn, err := packetConn(os.NewFile(inheritedFD, "control socket"))
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

// launcher starts set-up processes and waits for them.
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

// start gives a set-up process its identity and its descriptors. With an error, a child that is returned all the same
// has been killed and must be waited for.
func (l *launcher) start(req request, b *build, files []*os.File) (*child, error) {
	if len(files) != 2 {
		return nil, setupError(sandbox.StageLaunch, "start request", "", fmt.Errorf("%d descriptors came with it", len(files)))
	}
	c, err := l.takeSpare(req.Network)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	b.process = c.process
	killed := b.killed
	l.mu.Unlock()
	if killed {
		_ = c.process.Kill()
		return c, setupError(sandbox.StageLaunch, "", "", unix.EINTR)
	}
	if err = c.mapIDs(req); err == nil {
		err = setupError(sandbox.StageLaunch, "sendmsg", "", send(c.handover, struct{}{}, files...))
	}
	if err != nil {
		_ = c.process.Kill()
	}
	return c, err
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

// takeSpare returns a set-up process, a new one if need be.
func (l *launcher) takeSpare(network bool) (*child, error) {
	if network {
		return newChild(true)
	}
	l.mu.Lock()
	c := l.spare
	l.spare = nil
	l.mu.Unlock()
	if c != nil {
		return c, nil
	}
	return newChild(false)
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
	c, err := newChild(false)
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

// child is a set-up process that waits for its handover, in namespaces of its own.
type child struct {
	process  *os.Process
	pidfd    int
	handover *net.UnixConn
}

// setupCapabilities are what the set-up process holds in its own user namespace until it becomes the builder.
var setupCapabilities = []uintptr{
	unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP, unix.CAP_DAC_OVERRIDE,
}

func newChild(network bool) (*child, error) {
	handover, theirs, err := packetPair()
	if err != nil {
		return nil, setupError(sandbox.StageLaunch, "", "", err)
	}
	defer theirs.Close()
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		handover.Close()
		return nil, setupError(sandbox.StageLaunch, "open", "/dev/null", err)
	}
	defer null.Close()

	// The mount namespace comes later, so that it has the mounts of the moment when the build starts.
	flags := uintptr(unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP)
	if !network {
		flags |= unix.CLONE_NEWNET
	}
	c := &child{handover: handover, pidfd: -1}
	c.process, err = os.StartProcess("/proc/self/exe", []string{setupName}, &os.ProcAttr{
		// One thread of Go code is enough for what it does, and starts sooner.
		Env:   append(os.Environ(), "GOMAXPROCS=1", "GOGC=off"),
		Files: []*os.File{null, null, os.Stderr, theirs},
		Sys: &syscall.SysProcAttr{
			Setsid:      true,
			Cloneflags:  flags,
			AmbientCaps: setupCapabilities,
			PidFD:       &c.pidfd,
		},
	})
	if err != nil {
		handover.Close()
		return nil, setupError(sandbox.StageNamespaces, "clone", "", err)
	}
	return c, nil
}

// mapIDs makes UID and GID, and no other ids, exist in the child's user namespace.
func (c *child) mapIDs(req request) error {
	pid, err := c.hostPID()
	if err != nil {
		return setupError(sandbox.StageNamespaces, "", "", err)
	}
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	write := func(file, text string) error {
		return setupError(sandbox.StageNamespaces, "write", dir+file, os.WriteFile(dir+file, []byte(text), 0))
	}
	if err := write("uid_map", fmt.Sprintf("%d %d 1\n", req.UID, req.HostUID)); err != nil {
		return err
	}
	gidMap := fmt.Sprintf("%d %d 1\n", req.GID, req.HostGID)
	if write("gid_map", gidMap) == nil {
		return nil
	}
	// Without privileges a group can be mapped only once setgroups(2) is out of the question: user_namespaces(7).
	if err := write("setgroups", "deny"); err != nil {
		return err
	}
	return write("gid_map", gidMap)
}

// hostPID is the child's process id as the mounted /proc has it. That is the daemon's process namespace, in which the id
// that clone(2) gave to the launcher means another process, or none.
func (c *child) hostPID() (int, error) {
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(c.pidfd))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(info) {
		if value, ok := bytes.CutPrefix(line, []byte("Pid:")); ok {
			pid, err := strconv.Atoi(string(bytes.TrimSpace(value)))
			if err == nil && pid <= 0 {
				err = errors.New("the set-up process is gone")
			}
			return pid, err
		}
	}
	return 0, errors.New("the kernel tells no process id for a pidfd")
}

func (c *child) close() {
	c.handover.Close()
	if c.pidfd >= 0 {
		unix.Close(c.pidfd)
	}
}

// discard ends a child that never got its handover.
func (c *child) discard() {
	_ = c.process.Kill()
	_, _ = c.process.Wait()
	c.close()
}
