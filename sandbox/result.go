package sandbox

import (
	"fmt"
	"syscall"
	"time"
)

// Result tells how a builder ended.
type Result struct {
	// ExitCode is the exit status, or -1 if a signal ended the builder.
	ExitCode int
	// Signal is what ended it, or 0.
	Signal syscall.Signal
	// Start is when the builder's program was executed, Stop when its last process was gone.
	Start, Stop time.Time
	// CPUUser and CPUSystem are what all its processes used together. Without a control group those are missing that outlived their parents.
	CPUUser, CPUSystem time.Duration
	// Limit is the limit of Spec.Cgroup that made the builder fail, "memory limit of 1048576 bytes" for example. Empty: none.
	Limit string
}

// Success reports whether the builder exited with status 0.
func (r *Result) Success() bool { return r.ExitCode == 0 && r.Signal == 0 }

func (r *Result) String() string {
	if r.Limit != "" {
		return "killed: " + r.Limit
	}
	if r.Signal != 0 {
		return fmt.Sprintf("killed by signal %d (%s)", int(r.Signal), r.Signal)
	}
	return fmt.Sprintf("exit status %d", r.ExitCode)
}

// Stage is a step of the set-up, for SetupError.
type Stage string

// The stages in their order.
const (
	StageSpec       Stage = "spec"       // Validate's verdict
	StageLaunch     Stage = "launch"     // the process and its pseudo-terminal
	StageCgroup     Stage = "cgroup"     // the control group and its limits
	StageNamespaces Stage = "namespaces" // clone(2), unshare(2), id maps
	StageNetwork    Stage = "network"    // the loopback interface
	StageInput      Stage = "input"      // a mount of the Spec; Path is its source
	StageRoot       Stage = "root"       // the root directory with /dev, /proc, /etc, /tmp
	StagePrivileges Stage = "privileges" // limits, ids, capabilities, system call filter
	StageExec       Stage = "exec"       // the builder's program; Path is Builder
)

// SetupError says why the builder's program was never started. Err is a syscall.Errno where the kernel gave the reason, so
// errors.Is(err, fs.ErrNotExist) and the like work.
type SetupError struct {
	Stage Stage
	// Op is what was tried, a system call's name as a rule.
	Op string
	// Path is the file it was about, if any.
	Path string
	Err  error
}

func (e *SetupError) Error() string {
	msg := "sandbox: " + string(e.Stage)
	if e.Op != "" {
		msg += ": " + e.Op
	}
	if e.Path != "" {
		msg += " " + e.Path
	}
	msg += ": " + e.Err.Error()
	if hint := e.hint(); hint != "" {
		msg += " (" + hint + ")"
	}
	return msg
}

func (e *SetupError) Unwrap() error { return e.Err }

// hint says what to do where the kernel's reason alone leads nowhere.
func (e *SetupError) hint() string {
	errno, ok := e.Err.(syscall.Errno)
	switch {
	case !ok:
		return ""
	case e.Stage == StageNamespaces && (errno == syscall.EPERM || errno == syscall.EACCES):
		return "user namespaces are switched off for this user: see the sysctls kernel.apparmor_restrict_unprivileged_userns and kernel.unprivileged_userns_clone"
	case e.Stage == StageNamespaces && errno == syscall.ENOSPC:
		return "too many namespaces: see the sysctls under /proc/sys/user"
	case e.Stage == StageRoot && e.Op == "move_mount" && errno == syscall.ENOENT:
		return "a build without chroot needs this directory on the machine"
	case e.Stage == StageRoot && e.Path == "/proc" && errno == syscall.EPERM:
		return "parts of /proc are hidden here, as in a container, so no new one can be mounted"
	case e.Stage == StageExec && errno == syscall.ENOENT:
		return "it, or the interpreter that it names, is not among what builders see: their inputs, and what the setting sandbox-paths lists"
	}
	return ""
}
