package linux

import (
	"encoding/binary"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// dropPrivileges takes away what the builder must not have.
func (p *program) dropPrivileges(j *job) {
	p.setLimits()
	p.setPersonality(j.Spec)
	// Replaces the session keyring, which holds secrets of whoever started the daemon. There are kernels without keyrings.
	p.privilege("keyctl", unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, none).ignore(unix.ENOSYS)
	p.dropBoundingSet(j)
	if !j.Spec.AllowNewPrivileges {
		p.privilege("prctl PR_SET_NO_NEW_PRIVS", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	p.scopeSockets(j.Spec)
	p.installFilter(j)
	p.privilege("prctl PR_CAP_AMBIENT", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	if j.Spec.UIDCount <= 1 {
		p.setCapabilities(0)
	}
}

func (p *program) privilege(op string, number uintptr, arguments ...any) *call {
	return p.call(step{sandbox.StagePrivileges, op, ""}, number, arguments...)
}

// setLimits sets resource limits: no core dumps, in which secrets of a builtin would be, and open files.
func (p *program) setLimits() {
	set := func(resource int, soft, hard uint64) {
		both := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, soft), hard)
		p.privilege("prlimit", unix.SYS_PRLIMIT64, 0, resource, both, none)
	}
	set(unix.RLIMIT_CORE, 0, 0)
	if files, known := openFiles(); known {
		set(unix.RLIMIT_NOFILE, files.Cur, files.Max)
	}
}

// Personalities, personality(2).
const (
	perLinux32      = 0x0008
	uname26         = 0x0020000
	addrNoRandomize = 0x0040000
)

// setPersonality makes addresses the same in every build, and uname(2) tell the 32-bit machine of a 32-bit platform.
func (p *program) setPersonality(s *sandbox.Spec) {
	persona := addrNoRandomize
	switch {
	case runtime.GOARCH == "amd64" && s.Platform == "i686-linux",
		runtime.GOARCH == "arm64" && strings.HasPrefix(s.Platform, "armv"):
		persona |= perLinux32
	}
	if s.ImpersonateLinux26 {
		persona |= uname26
	}
	p.privilege("personality", unix.SYS_PERSONALITY, persona)
}

// dropBoundingSet makes sure that no program gives capabilities back, not even to uid 0 of the sandbox. Without chroot a set-user-id
// program may, if that is allowed.
func (p *program) dropBoundingSet(j *job) {
	if j.Spec.UIDCount > 1 || j.Spec.NoChroot && j.Spec.AllowNewPrivileges && !j.HostRoot {
		return
	}
	for c := range lastCapability() + 1 {
		p.privilege("prctl PR_CAPBSET_DROP", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0)
	}
}

// allCapabilities are those that this kernel has.
func allCapabilities() uint64 { return 1<<(lastCapability()+1) - 1 }

// lastCapability is the highest number that the kernel knows, proc_sys_kernel(5).
func lastCapability() int {
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return n
		}
	}
	return unix.CAP_LAST_CAP
}

// scopeSockets keeps a builder that shares the host's network namespace from abstract unix sockets, which belong to that
// namespace and have no permissions (the X server's, systemd's). Kernels before 6.12 cannot.
func (p *program) scopeSockets(s *sandbox.Spec) {
	const (
		createVersion        = 1 // flag of landlock_create_ruleset(2)
		scopeABI             = 6
		scopeAbstractSockets = 1
	)
	if !s.Network || s.NoChroot {
		return
	}
	abi, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, createVersion)
	if errno != 0 || abi < scopeABI {
		return
	}
	ruleset := make([]byte, 16, 24) // handled_access_fs, handled_access_net, scoped
	ruleset = binary.NativeEndian.AppendUint64(ruleset, scopeAbstractSockets)
	fd := p.open(step{sandbox.StagePrivileges, "landlock_create_ruleset", ""}, unix.SYS_LANDLOCK_CREATE_RULESET, ruleset, len(ruleset), 0)
	p.privilege("landlock_restrict_self", unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0)
	p.close(fd)
}

// resetSignals undoes what the child inherited: execve(2) keeps ignored and blocked signals so.
func (p *program) resetSignals() {
	const (
		setSize = 8 // of the kernel's sigset_t
		last    = 64
	)
	byDefault := make([]byte, 64) // more than any architecture's struct sigaction
	for sig := 1; sig <= last; sig++ {
		if sig != int(unix.SIGKILL) && sig != int(unix.SIGSTOP) {
			p.privilege("rt_sigaction", unix.SYS_RT_SIGACTION, sig, byDefault, none, setSize)
		}
	}
	p.privilege("rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, make([]byte, setSize), none, setSize)
}
