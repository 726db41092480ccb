package linux_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"larder/sandbox/linux"
)

// Whose processes die and whose do not. No other test uses these users.
func TestKillUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can kill what others run")
	}
	const victim, bystander = 64341, 64342
	start := func(uid uint32, script string) *exec.Cmd {
		t.Helper()
		cmd := exec.Command(busybox, "sh", "-c", script)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Setsid: true}
		must(t, cmd.Start())
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd
	}
	if _, err := os.Stat(busybox); err != nil {
		t.Skipf("the processes to be killed are busybox (Debian: busybox-static): %v", err)
	}
	must(t, linux.KillUser(deadline(t), victim)) // nobody there
	other := start(bystander, "exec busybox sleep 60")
	// One that starts others all the time is not faster.
	victims := []*exec.Cmd{start(victim, "exec busybox sleep 60"), start(victim, "while :; do busybox true & done")}
	must(t, linux.KillUser(deadline(t), victim))
	for _, v := range victims {
		var exit *exec.ExitError
		if err := v.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("it ended with %v", err)
		}
	}
	must(t, other.Process.Signal(syscall.Signal(0)))
	for _, uid := range []int{0, -1, os.Getuid(), 1<<32 - 1} {
		if err := linux.KillUser(deadline(t), uid); err == nil {
			t.Errorf("user id %d was not refused", uid)
		}
	}
}

// TestKillUserKeepsToIt: a service may be set up so that root keeps its capabilities when it becomes another user. The killer has
// none even then: with them it would kill everything. It is tried in a process namespace, in which there is little to kill.
func TestKillUserKeepsToIt(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can kill what others run")
	}
	cmd := exec.CommandContext(deadline(t), "/proc/self/exe")
	cmd.Env = append(os.Environ(), "LARDER_TEST_HELPER=killer")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "victim killed\n" {
		t.Errorf("%v, %q", err, out)
	}
}

func killerHelper() {
	const (
		victim, bystander = 64343, 64344
		noSetuidFixup     = 1 << 2 // securebits(7)
	)
	fail := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	start := func(uid uint32) *exec.Cmd {
		cmd := exec.Command(busybox, "sleep", "60")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		fail(cmd.Start())
		return cmd
	}
	v, other := start(victim), start(bystander)
	runtime.LockOSThread() // from which the killer inherits it
	fail(unix.Prctl(unix.PR_SET_SECUREBITS, noSetuidFixup, 0, 0, 0))
	fail(linux.KillUser(context.Background(), victim))
	_ = v.Wait()
	fmt.Println("victim killed")
	_ = other.Process.Signal(syscall.SIGTERM)
	state, err := other.Process.Wait()
	fail(err)
	if status := state.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGTERM {
		fmt.Println("bystander:", state)
	}
}
