package linux_test

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

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
