package fusefs

import (
	"bytes"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// procFS is where proc(5) is mounted. The pid of a FUSE request is that of the
// calling thread; /proc has a directory for each, listed or not.
type procFS string

func (d procFS) read(tid uint32, file string) ([]byte, error) {
	return os.ReadFile(string(d) + "/" + strconv.FormatUint(uint64(tid), 10) + "/" + file)
}

// sigset is a set of signals as /proc/PID/status prints them: bit 0 is signal 1.
type sigset uint64

func sigs(list ...unix.Signal) (s sigset) {
	for _, n := range list {
		s |= 1 << (n - 1)
	}
	return s
}

var (
	// toLeave end a wait even if the program catches them: whoever sends
	// them wants it to stop.
	toLeave = sigs(unix.SIGKILL, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP)

	// notFatal do not kill when nobody catches them.
	notFatal = sigs(unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH,
		unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU)
)

// mustLeave reports whether a thread that waits and was interrupted has a signal
// pending that should end the wait: one that will kill it, or one of toLeave.
// Others (a runtime preempts with SIGURG, a child ended, a timer went off)
// must not: programs do not expect EINTR from stat or execve. When that cannot
// be found out it must leave.
func (d procFS) mustLeave(tid uint32) bool {
	if tid == 0 {
		return true
	}
	status, err := d.read(tid, "status")
	if err != nil {
		return true
	}
	var thread, process, blocked, ignored, caught sigset
	fields := map[string]*sigset{
		"SigPnd": &thread, "ShdPnd": &process, "SigBlk": &blocked, "SigIgn": &ignored, "SigCgt": &caught,
	}
	for line := range bytes.Lines(status) {
		name, value, _ := strings.Cut(string(line), ":")
		if s := fields[name]; s != nil {
			v, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			if err != nil {
				return true
			}
			*s = sigset(v)
			delete(fields, name)
		}
	}
	if len(fields) > 0 {
		return true
	}
	pending := (thread | process) &^ blocked
	fatal := pending &^ (ignored | caught | notFatal)
	return pending&toLeave != 0 || fatal != 0
}

// process is the id of the process that a thread belongs to, or the thread's
// own if that cannot be found out.
func (d procFS) process(tid uint32) uint32 {
	if tid == 0 {
		return 0
	}
	status, err := d.read(tid, "status")
	if err != nil {
		return tid
	}
	_, rest, _ := bytes.Cut(status, []byte("\nTgid:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	pid, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 10, 32)
	if err != nil {
		return tid
	}
	return uint32(pid)
}

// symlinkCalls look at a path without asking for its attributes, and are content
// with a symlink only: execve and execveat (a directory would be EACCES at once),
// readlink and readlinkat (EINVAL). On amd64 also the execs of 32-bit programs,
// whose 64-bit namesakes look nothing up.
var symlinkCalls = map[string][]string{
	"amd64": {"59", "322", "89", "267", "11", "358"},
	"arm64": {"221", "281", "78"},
}[runtime.GOARCH]

// wantsSymlink reports whether a thread, which waits for us, is in one of
// symlinkCalls. The answer is a guess if the kernel does not say: unprivileged,
// it does so only about processes that we could trace.
//
// Linux before 5.7 would take a lock here that execve holds.
func (d procFS) wantsSymlink(tid uint32) bool {
	if tid == 0 {
		return false
	}
	// "running": the request is here before its sender has gone to sleep.
	for range 20 {
		text, err := d.read(tid, "syscall")
		if err != nil {
			return d.betweenForkAndExec(tid)
		}
		call, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
		if call != "running" {
			return slices.Contains(symlinkCalls, call)
		}
		time.Sleep(50 * time.Microsecond)
	}
	return false
}

// betweenForkAndExec is the next best that everybody may know: the flag
// PF_FORKNOEXEC of a process that was forked and has not executed anything yet.
// Every thread but the first has it too, so only a first thread counts.
func (d procFS) betweenForkAndExec(tid uint32) bool {
	const forkNoExec = 0x40 // include/linux/sched.h
	text, err := d.read(tid, "stat")
	if err != nil || d.process(tid) != tid {
		return false
	}
	// The second field is the command in parentheses and may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(fields[6], 10, 64) // the ninth of proc_pid_stat(5)
	return err == nil && flags&forkNoExec != 0
}
