package mount

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// daemonCommand is this program again, in a mount namespace of its own. The Go
// runtime makes all mounts of that private before the program begins, so the
// mount that is made later does not reach it. A session of its own keeps the
// terminal's signals away: when to end is decided outside.
func daemonCommand(o Options, socket *os.File) *exec.Cmd {
	args := o.Args
	if args == nil {
		args = os.Args[1:]
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = o.Env
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, inheritedEnv+"="+o.Dir)
	cmd.Stdout, cmd.Stderr = orFile(o.Stdout, os.Stdout), orFile(o.Stderr, os.Stderr)
	cmd.ExtraFiles = []*os.File{socket} // becomes inheritedFd
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Unshareflags: unix.CLONE_NEWNS}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	}
	return cmd
}

func orFile(f, def *os.File) *os.File {
	if f != nil {
		return f
	}
	return def
}

// startError adds what to do when the machine forbids namespaces.
func startError(err error) error {
	if os.Geteuid() != 0 && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EACCES)) {
		return fmt.Errorf("start the daemon in a user namespace: %w (does this machine allow user namespaces? "+
			"see sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)", err)
	}
	return fmt.Errorf("start the daemon: %w", err)
}
