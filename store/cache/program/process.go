package program

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"larder/nar/tree"
)

// farewell is how long a program may take to end after its standard input did.
const farewell = 2 * time.Second

// process is a program that runs, in a process group of its own.
type process struct {
	cmd     *exec.Cmd
	in      *os.File // its standard input, nil if it has none
	out     *os.File // its standard output
	timeout time.Duration

	ended  chan struct{} // closed when it is gone, with its group, and its standard error is logged
	status error         // how it ended; valid then

	mu     sync.Mutex // guards what follows
	killed bool
	reaped bool // its process id may be another's
}

// start starts a program for one question. Whoever does must call end.
func (p *Program) start(timeout time.Duration, args ...string) (*process, error) {
	return p.startWith(false, timeout, args)
}

// startSession starts a program that has a standard input.
func (p *Program) startSession(args ...string) (*process, error) {
	return p.startWith(true, p.at.timeout, args)
}

func (p *Program) startWith(session bool, timeout time.Duration, args []string) (_ *process, err error) {
	var theirs, ours [3]*os.File // by descriptor
	defer func() {
		closeAll(theirs)
		if err != nil {
			closeAll(ours)
		}
	}()
	for fd := range theirs {
		if fd == 0 && !session {
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		if fd == 0 {
			theirs[fd], ours[fd] = r, w
		} else {
			theirs[fd], ours[fd] = w, r
		}
	}
	pr := &process{in: ours[0], out: ours[1], timeout: timeout, ended: make(chan struct{})}
	pr.cmd = exec.Command(p.at.program, slices.Concat(p.at.args, args)...)
	pr.cmd.Env = append(os.Environ(), "NIX_STORE_DIR="+string(p.opt.StoreDir))
	pr.cmd.Dir = "/"
	pr.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pr.cmd.Stdout, pr.cmd.Stderr = theirs[1], theirs[2]
	if session {
		pr.cmd.Stdin = theirs[0]
	}
	if err := pr.cmd.Start(); err != nil {
		return nil, err
	}
	complaints := ours[2]
	go func() {
		defer close(pr.ended)
		var logged sync.WaitGroup
		logged.Go(func() { logLines(p.opt.Logger.With("program", p.at.program), complaints) })
		pr.status = pr.reap()
		// Nobody of the group is left, but one that left it may hold the pipe.
		complaints.SetReadDeadline(time.Now().Add(farewell))
		logged.Wait()
		complaints.Close()
	}()
	return pr, nil
}

func closeAll(files [3]*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// reap waits for the program and kills what it left behind, before its process id can be another's.
func (pr *process) reap() error {
	var info unix.Siginfo
	err := tree.Retry(func() error {
		return unix.Waitid(unix.P_PID, pr.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
	})
	pr.mu.Lock()
	defer pr.mu.Unlock()
	pr.reaped = true
	unix.Kill(-pr.cmd.Process.Pid, unix.SIGKILL)
	return errors.Join(err, pr.cmd.Wait())
}

// kill ends the program now, and what reads from it or writes to it. It may be called at any time.
func (pr *process) kill() {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	pr.killed = true
	if !pr.reaped {
		unix.Kill(-pr.cmd.Process.Pid, unix.SIGKILL)
	}
	// A process that left the group may hold the other ends.
	pr.out.SetReadDeadline(time.Now())
	if pr.in != nil {
		pr.in.SetWriteDeadline(time.Now())
	}
}

// extend lets a transfer wait for the timeout from now on.
func (pr *process) extend(set func(time.Time) error) error {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.killed {
		return io.ErrUnexpectedEOF
	}
	return set(time.Now().Add(pr.timeout))
}

// end lets the program end by itself, for a while, and waits until it is gone. The error says how it ended.
func (pr *process) end() error {
	if pr.in != nil {
		pr.in.Close()
	}
	late := time.AfterFunc(farewell, pr.kill)
	<-pr.ended
	late.Stop()
	pr.out.Close()
	return pr.status
}

// abandon ends the program at once and waits until it is gone.
func (pr *process) abandon() {
	pr.kill()
	pr.end()
}

// Read reads what the program prints. It waits no longer than the timeout.
func (pr *process) Read(b []byte) (int, error) {
	if err := pr.extend(pr.out.SetReadDeadline); err != nil {
		return 0, err
	}
	n, err := pr.out.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("it printed nothing for %v", pr.timeout)
	}
	return n, err
}

// Write writes to the program. It waits no longer than the timeout.
func (pr *process) Write(b []byte) (int, error) {
	if err := pr.extend(pr.in.SetWriteDeadline); err != nil {
		return 0, err
	}
	n, err := pr.in.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("it read nothing for %v", pr.timeout)
	}
	return n, err
}
