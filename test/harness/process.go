package harness

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Patience is how long anything may take that a test waits for.
const Patience = 30 * time.Second

// Process is a program that a test has started. It is killed at the end of the test.
type Process struct {
	t     testing.TB
	cmd   *exec.Cmd
	out   output
	err   output
	ended chan struct{}
}

// output may be read while the process writes.
type output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Start starts a program with the site's environment, as its user.
func (s *Site) Start(args ...string) *Process {
	s.t.Helper()
	return s.startCmd(s.command(args...))
}

func (s *Site) command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = s.Top, s.env
	if s.UID != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.UID), Gid: uint32(s.UID)}}
	}
	return cmd
}

func (s *Site) startCmd(cmd *exec.Cmd) *Process {
	s.t.Helper()
	p := &Process{t: s.t, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.err
	cmd.WaitDelay = time.Second // a descendant that keeps the output open must not keep us
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		cmd.Wait()
		close(p.ended)
	}()
	s.t.Cleanup(func() {
		p.Signal(syscall.SIGKILL)
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second): // the site's own cleanup aborts the mount, which frees it
		}
	})
	return p
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process, if it is still there.
func (p *Process) Signal(s syscall.Signal) { p.cmd.Process.Signal(s) }

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Stdout is what the process has written to its standard output so far.
func (p *Process) Stdout() string { return p.out.String() }

// Stderr is what the process has written to its standard error so far.
func (p *Process) Stderr() string { return p.err.String() }

// Result is how a process ended.
type Result struct {
	Out, Err string // what it wrote, without white space at the ends
	Status   int    // its exit status; -1 if a signal ended it
}

// Wait waits for the end of the process.
func (p *Process) Wait() Result {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(Patience):
		p.t.Fatalf("%v still runs after %v\nit wrote: %s%s\n%s", p.cmd.Args, Patience, &p.out, &p.err, stacks(p.PID()))
	}
	return Result{strings.TrimSpace(p.out.String()), strings.TrimSpace(p.err.String()), p.cmd.ProcessState.ExitCode()}
}

// stacks is where the threads of a process are in the kernel, for the post-mortem.
func stacks(pid int) string {
	var b strings.Builder
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stack", pid))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		fmt.Fprintf(&b, "%s\n%s", f, text)
	}
	return b.String()
}

// Alive reports whether a process is there, and not only its remains.
func Alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// Kill kills a process that is not a child of the test, and waits until it is dead.
func Kill(t testing.TB, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
	Eventually(t, fmt.Sprintf("process %d is dead", pid), func() bool { return !Alive(pid) })
}

// Processes are the living processes whose command line contains a text.
func Processes(text string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		b, err := os.ReadFile(f)
		var pid int
		fmt.Sscanf(f, "/proc/%d/", &pid)
		if err == nil && bytes.Contains(b, []byte(text)) && pid != os.Getpid() && Alive(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Eventually waits for a condition.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v still not: %s", Patience, what)
		}
	}
}
