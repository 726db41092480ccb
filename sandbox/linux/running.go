package linux

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// running is a build on the daemon's side.
type running struct {
	control *control
	id      uint64
	answer  <-chan reply
	program *program
	job     []byte   // the program, encoded
	socket  net.Conn // to the child
	master  *os.File // of the pseudo-terminal
}

// begin completes j and has a child made for it.
func (r *Runner) begin(c *control, j *job, group *cgroup) (_ *running, err error) {
	s := j.Spec
	req := request{
		NoChroot: s.NoChroot, Network: s.Network, UID: s.UID, GID: s.GID, HostUID: s.HostUID, HostGID: s.HostGID,
		UIDCount: s.UIDCount, Groups: s.Groups,
	}
	j.HostRoot = req.HostUID == 0
	if !s.NoSyscallFilter {
		j.Filter = r.filter
	}
	p, err := writeProgram(j)
	if err != nil {
		return nil, err
	}
	b := &running{control: c, program: p, job: p.encode()}
	if len(b.job) > maxJob {
		return nil, setupError(sandbox.StageSpec, "", "", fmt.Errorf("%d bytes, more than %d", len(b.job), maxJob))
	}

	master, slave, err := openTerminal(req.HostUID)
	if err != nil {
		return nil, err
	}
	defer slave.Close()
	socket, theirs, err := socketPair(unix.SOCK_STREAM)
	if err != nil {
		master.Close()
		return nil, setupError(sandbox.StageLaunch, "", "", err)
	}
	defer theirs.Close()
	b.master, b.socket = master, socket
	files := []*os.File{theirs, slave}
	if group != nil {
		files = append(files, group.inner)
	}
	b.id, b.answer, err = c.start(req, files...)
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// errChildDied: the builder's program was not started, and nothing says why.
var errChildDied = errors.New("the process that was to become the builder died")

// lingering is how long the log may go on when the builder and all that it started are dead. A builder with the host's
// network can send its terminal to a process that is not.
const lingering = time.Second

func (b *running) kill() { b.control.kill(b.id) }

func (b *running) close() {
	b.socket.Close()
	b.master.Close()
}

// follow sees b to its end.
func (b *running) follow(log io.Writer) (*sandbox.Result, error) {
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
		return nil, fault
	case answer.Fault != nil:
		return nil, answer.Fault.err()
	case !ready:
		return nil, setupError(sandbox.StageLaunch, "", "", fmt.Errorf("%w: %s", errChildDied, resultOf(answer)))
	case logErr != nil:
		return nil, logErr
	}
	result := resultOf(answer)
	result.Start, result.Stop = start, time.Now()
	return result, nil
}

// setUp gives the child its program and hears how it went: ready means that it came as far as execve(2). Neither ready nor a
// fault: the process died, or there never was one.
func (b *running) setUp() (ready bool, fault error) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		// If it does not read its program to the end, it says why, or dies and the launcher knows.
		_, _ = b.socket.Write(b.job)
		b.job = nil
	}()
	// An error with nothing read: a socket that was closed with unread data in it.
	said, _ := io.ReadAll(io.LimitReader(b.socket, 64))
	<-sent
	if len(said) > 0 && said[0] == readyByte {
		ready, said = true, said[1:]
	}
	if len(said) > 0 {
		fault = b.program.fault(said)
	}
	b.program = nil
	return ready, fault
}

func resultOf(answer reply) *sandbox.Result {
	status := syscall.WaitStatus(answer.Status)
	r := &sandbox.Result{ExitCode: status.ExitStatus(), CPUUser: answer.User, CPUSystem: answer.System}
	if status.Signaled() {
		r.Signal = status.Signal()
	}
	return r
}
