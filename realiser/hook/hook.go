// Package hook runs the programs of settings such as diff-hook and
// post-build-hook: of the administrator's, but beside hostile builds.
//
// A hook has no descriptor of the daemon but for its output, nothing to read, and
// a process group of its own, all of which is killed when it has ended or is not
// wanted any more.
package hook

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxLine is how many bytes of a line are passed on at a time.
const maxLine = 4 << 10

// grace is how long it is read what processes write that left a hook's group, after the hook's end.
const grace = time.Second

// Hook is one run of a program.
type Hook struct {
	Path string
	Args []string // without the program's own name
	Env  []string // as of os/exec; later ones win
	Dir  string
	// User is who it runs as; nil: who runs this process.
	User *syscall.Credential
	// Line takes what it writes, line by line, without the line's end; from one goroutine.
	Line func(string)
	// Output takes what it writes to its standard output, if that is something else.
	Output *os.File
}

// Run returns when the program has ended, was killed because ctx ended (the error
// is then ctx's cause), or could not be run. The error names the program.
func (h *Hook) Run(ctx context.Context) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("hook '%s': %w", h.Path, err)
	}
	if ctx.Err() != nil {
		r.Close()
		w.Close()
		return context.Cause(ctx)
	}
	cmd := exec.Command(h.Path, h.Args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = h.Env, h.Dir, w, w
	if h.Output != nil {
		cmd.Stdout = h.Output
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: h.User}
	if err = closeOnExec(); err == nil {
		err = cmd.Start()
	}
	w.Close()
	if err != nil {
		r.Close()
		var at *fs.PathError // of a system call whose name says nothing
		if errors.As(err, &at) {
			err = at.Err
		}
		return fmt.Errorf("program '%s' could not be run: %w", h.Path, err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		h.lines(r)
	}()
	killGroup(ctx, cmd.Process.Pid)
	err = cmd.Wait()
	// A process that left the group must not hold us up for long.
	_ = r.SetReadDeadline(time.Now().Add(grace))
	<-read
	r.Close()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit):
		return &Failure{Path: h.Path, State: exit.ProcessState}
	case err != nil:
		return fmt.Errorf("hook '%s': %w", h.Path, err)
	}
	return nil
}

// killGroup waits for the end of a process that leads a group, or that of ctx, and kills the group: whoever is left of it would hold the
// pipe open. The process is not yet taken from the kernel then, so nobody else can have got the group's number.
func killGroup(ctx context.Context, pid int) {
	kill := func() { _ = syscall.Kill(-pid, syscall.SIGKILL) }
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-ctx.Done():
			kill()
		case <-ended:
		}
	}()
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	close(ended)
	<-watched
	kill()
}

// closeOnExec makes sure that a program that is run gets no descriptor that it is not meant to get. Those that Go opened are
// marked; those that this process was started with may not be.
func closeOnExec() error {
	err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	names, err := os.ReadDir("/proc/self/fd") // Linux before 5.11
	for _, n := range names {
		if fd, err := strconv.Atoi(n.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return err
}

// lines passes on what is read, in pieces of at most maxLine bytes.
func (h *Hook) lines(r io.Reader) {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		piece, err := in.ReadSlice('\n')
		if len(piece) > 0 {
			h.Line(strings.ToValidUTF8(strings.TrimSuffix(string(piece), "\n"), "\uFFFD"))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// Failure says that a hook ended with something else than 0.
type Failure struct {
	Path  string
	State *os.ProcessState
}

func (f *Failure) Error() string {
	if w, ok := f.State.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return fmt.Sprintf("program '%s' failed due to signal %d (%s)", f.Path, int(w.Signal()), w.Signal())
	}
	return fmt.Sprintf("program '%s' failed with exit code %d", f.Path, f.State.ExitCode())
}
