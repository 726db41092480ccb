package linux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const killerName = "larder-killer"

// KillUser kills all processes of a user, as far as this process namespace shows them; it does not wait until they are gone.
// Whoever calls it must hold the lock of that user id, be root, and not be that user. Most often nobody is there, and then no more
// than a system call is made.
func KillUser(ctx context.Context, uid int) error {
	if err := checkVictim(uid); err != nil {
		return err
	}
	// Every process of the user could have made further ones, but if there is none there will be none.
	if _, err := unix.Getpriority(unix.PRIO_USER, uid); err == unix.ESRCH {
		return nil
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{killerName, strconv.Itoa(uid)}
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("cannot kill the processes of user id %d: %w: %s", uid, err, out)
	}
	return nil
}

// checkVictim says why the processes of a user are not to be killed.
func checkVictim(uid int) error {
	switch {
	case uid <= 0 || int64(uid) >= 1<<32-1:
		return fmt.Errorf("the processes of user id %d are not killed: it is root's or none", uid)
	case uid == os.Getuid() || uid == os.Geteuid():
		return fmt.Errorf("the processes of user id %d are not killed: it is the caller's own", uid)
	}
	return nil
}

// killAll is the killer's main program. kill(2) with -1 reaches all that the caller may send signals to but itself, in
// one go, so that no process can escape by starting others: so the caller becomes the user. Only this thread does, the
// only one that the user's processes could send a signal to, and not for long.
func killAll(uid int) error {
	if err := checkVictim(uid); err != nil {
		return err
	}
	runtime.LockOSThread()
	id := uintptr(uid)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id); errno != 0 {
		return os.NewSyscallError("setresuid", errno)
	}
	// As root it would be the end of everything on the machine.
	if r, e, s := unix.Getresuid(); r != uid || e != uid || s != uid {
		return errors.New("setresuid did not change the user id")
	}
	// Nor may it have capabilities, which root may have been told to keep (securebits, capabilities(7)).
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return os.NewSyscallError("capset", err)
	}
	_, _, errno := unix.RawSyscall(unix.SYS_KILL, ^uintptr(0), uintptr(syscall.SIGKILL), 0)
	if errno != 0 && errno != unix.ESRCH && errno != unix.EPERM { // nobody is left
		return os.NewSyscallError("kill", errno)
	}
	return nil
}
