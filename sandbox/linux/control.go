package linux

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// control is the daemon's end of a launcher. Its methods may be called concurrently.
type control struct {
	process *os.Process
	conn    *net.UnixConn
	gone    chan struct{} // closed when the launcher is dead and its last reply delivered

	mu      sync.Mutex // guards what follows
	next    uint64
	waiting map[uint64]chan<- reply // nil once gone
}

var errLauncherGone = errors.New("the launcher process is gone")

// startLauncher starts one. It is process 1 of a process namespace that holds all builds: the kernel ends them with it.
func startLauncher() (*control, error) {
	conn, theirs, err := socketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, setupError(sandbox.StageLaunch, "", "", err)
	}
	defer theirs.Close()
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		conn.Close()
		return nil, setupError(sandbox.StageLaunch, "open", "/dev/null", err)
	}
	defer null.Close()

	attr := &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWPID}
	if !maySetUpNamespaces() {
		// A process namespace needs CAP_SYS_ADMIN, which a user namespace of our own gives. In it we keep our own ids.
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	}
	process, err := os.StartProcess("/proc/self/exe", []string{launcherName}, &os.ProcAttr{
		Dir:   "/",
		Env:   os.Environ(),
		Files: []*os.File{null, null, os.Stderr, theirs},
		Sys:   attr,
	})
	if err != nil {
		conn.Close()
		return nil, setupError(sandbox.StageNamespaces, "clone", "", err)
	}
	c := &control{process: process, conn: conn, gone: make(chan struct{}), waiting: make(map[uint64]chan<- reply)}
	go c.deliver()
	return c, nil
}

// maySetUpNamespaces reports whether this process has CAP_SYS_ADMIN in its user namespace.
func maySetUpNamespaces() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

// deliver hands replies to whoever waits for them, until the launcher is gone.
func (c *control) deliver() {
	defer close(c.gone)
	for {
		var answer reply
		files, err := receive(c.conn, &answer)
		closeAll(files)
		if err != nil {
			break
		}
		c.mu.Lock()
		ch := c.waiting[answer.ID]
		delete(c.waiting, answer.ID)
		c.mu.Unlock()
		if ch != nil {
			ch <- answer // has room for it
		}
	}
	c.conn.Close()
	// It ends by itself when the socket closes, unless it is stopped; with it all builds.
	_ = c.process.Kill()
	_, _ = c.process.Wait()
	c.mu.Lock()
	orphans := c.waiting
	c.waiting = nil
	c.mu.Unlock()
	fault := newFailure(setupError(sandbox.StageLaunch, "", "", errLauncherGone))
	for id, ch := range orphans {
		ch <- reply{ID: id, Fault: fault}
	}
}

// start asks for a child that gets files. Exactly one reply comes on the channel.
func (c *control) start(req request, files ...*os.File) (id uint64, answer <-chan reply, err error) {
	ch := make(chan reply, 1)
	c.mu.Lock()
	if c.waiting == nil {
		c.mu.Unlock()
		return 0, nil, setupError(sandbox.StageLaunch, "", "", errLauncherGone)
	}
	c.next++
	req.ID = c.next
	c.waiting[req.ID] = ch
	c.mu.Unlock()
	if err := send(c.conn, req, files...); err != nil {
		c.mu.Lock()
		delete(c.waiting, req.ID)
		c.mu.Unlock()
		return 0, nil, setupError(sandbox.StageLaunch, "", "", fmt.Errorf("%w: %w", errLauncherGone, err))
	}
	return req.ID, ch, nil
}

// kill ends a build. The reply to its start comes nevertheless.
func (c *control) kill(id uint64) {
	// If the launcher is gone, so is the build.
	_ = send(c.conn, request{ID: id, Kill: true})
}

// alive reports whether the launcher still takes requests.
func (c *control) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting != nil
}

// close ends the launcher and every build, and waits for that.
func (c *control) close() {
	_ = c.conn.Close()
	<-c.gone
}
