package linux

import (
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// dropPrivileges takes away what the builder must not have.
func dropPrivileges(j *job) error {
	for _, step := range []func(*job) error{
		setLimits, setPersonality, newKeyring, dropBoundingSet, denyNewPrivileges, scopeSockets, installFilter, dropCapabilities,
	} {
		if err := step(j); err != nil {
			return err
		}
	}
	return nil
}

func setLimits(j *job) error {
	limits := append([]sandbox.Limit{{Resource: unix.RLIMIT_CORE}}, j.Spec.Limits...)
	for _, l := range limits {
		if err := unix.Prlimit(0, l.Resource, &unix.Rlimit{Cur: l.Value, Max: l.Value}, nil); err != nil {
			return setupError(sandbox.StagePrivileges, "prlimit", "", err)
		}
	}
	return nil
}

// Personalities, personality(2).
const (
	perLinux32      = 0x0008
	uname26         = 0x0020000
	addrNoRandomize = 0x0040000
)

// setPersonality makes addresses the same in every build, and uname(2) tell the 32-bit machine of a 32-bit platform.
func setPersonality(j *job) error {
	persona := uintptr(addrNoRandomize)
	switch {
	case runtime.GOARCH == "amd64" && j.Spec.Platform == "i686-linux",
		runtime.GOARCH == "arm64" && strings.HasPrefix(j.Spec.Platform, "armv"):
		persona |= perLinux32
	}
	if j.Spec.ImpersonateLinux26 {
		persona |= uname26
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, persona, 0, 0); errno != 0 {
		return setupError(sandbox.StagePrivileges, "personality", "", errno)
	}
	return nil
}

// newKeyring replaces the session keyring, which holds secrets of whoever started the daemon.
func newKeyring(*job) error {
	_, _, errno := unix.RawSyscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0)
	if errno != 0 && errno != unix.ENOSYS { // a kernel without keyrings
		return setupError(sandbox.StagePrivileges, "keyctl", "", errno)
	}
	return nil
}

// dropBoundingSet makes sure that no program gives capabilities back, not even to uid 0 of the sandbox. Without chroot a set-user-id
// program may, if that is allowed.
func dropBoundingSet(j *job) error {
	if j.Spec.UIDCount > 1 || j.Spec.NoChroot && j.Spec.AllowNewPrivileges && !j.HostRoot {
		return nil
	}
	for c := uintptr(0); ; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err == unix.EINVAL && c > unix.CAP_LAST_CAP {
			return nil
		} else if err == unix.EINVAL {
			continue // an older kernel, without the newest capabilities
		} else if err != nil {
			return setupError(sandbox.StagePrivileges, "prctl PR_CAPBSET_DROP", "", err)
		}
	}
}

func denyNewPrivileges(j *job) error {
	if j.Spec.AllowNewPrivileges {
		return nil
	}
	return setupError(sandbox.StagePrivileges, "prctl PR_SET_NO_NEW_PRIVS", "", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
}

// scopeSockets keeps a builder that shares the host's network namespace from abstract unix sockets, which belong to that
// namespace and have no permissions (the X server's, systemd's). Kernels before 6.12 cannot.
func scopeSockets(j *job) error {
	if !j.Spec.Network || j.Spec.NoChroot {
		return nil
	}
	const (
		createVersion        = 1 // flag of landlock_create_ruleset(2)
		scopeABI             = 6
		scopeAbstractSockets = 1
	)
	abi, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, createVersion)
	if errno != 0 || abi < scopeABI {
		return nil
	}
	ruleset := struct{ accessFS, accessNet, scoped uint64 }{scoped: scopeAbstractSockets}
	fd, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&ruleset)), unsafe.Sizeof(ruleset), 0)
	if errno != 0 {
		return setupError(sandbox.StagePrivileges, "landlock_create_ruleset", "", errno)
	}
	defer unix.Close(int(fd))
	if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return setupError(sandbox.StagePrivileges, "landlock_restrict_self", "", errno)
	}
	return nil
}

// allCapabilities are those that this kernel has.
func allCapabilities() (all []uintptr) {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		// An error means that there are no more, 0 that this process may never have it.
		if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err == nil && has == 1 {
			all = append(all, c)
		}
	}
	return all
}

func dropCapabilities(j *job) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return setupError(sandbox.StagePrivileges, "prctl PR_CAP_AMBIENT", "", err)
	}
	if j.Spec.UIDCount > 1 {
		return nil
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return setupError(sandbox.StagePrivileges, "capset", "", unix.Capset(&header, &none[0]))
}

// resetSignals undoes what this process inherited: execve(2) keeps ignored and blocked signals so.
func resetSignals() error {
	const (
		ignored = 1 // SIG_IGN
		setSize = 8 // of the kernel's sigset_t
		last    = 64
	)
	for sig := uintptr(1); sig <= last; sig++ {
		// The kernel's struct sigaction begins with the handler; the rest may stay zero, and is smaller than this.
		var action, byDefault [8]uintptr
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&action)), setSize, 0, 0); errno != 0 {
			return setupError(sandbox.StagePrivileges, "rt_sigaction", "", errno)
		}
		if action[0] != ignored || sig == uintptr(unix.SIGKILL) || sig == uintptr(unix.SIGSTOP) {
			continue
		}
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&byDefault)), 0, setSize, 0, 0); errno != 0 {
			return setupError(sandbox.StagePrivileges, "rt_sigaction", "", errno)
		}
	}
	var none uint64
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&none)), 0, setSize, 0, 0); errno != 0 {
		return setupError(sandbox.StagePrivileges, "rt_sigprocmask", "", errno)
	}
	return nil
}
