package fusefs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// privateEnv says that the tests have a mount namespace of their own.
const privateEnv = "LARDER_FUSEFS_TEST_PRIVATE"

// toucherDir is where the toucher is built, once; TestMain removes it.
var toucherDir string

func TestMain(m *testing.M) {
	if os.Geteuid() == 0 && os.Getenv(privateEnv) == "" {
		os.Exit(inPrivateNamespace())
	}
	status := m.Run()
	os.RemoveAll(toucherDir)
	os.Exit(status)
}

// inPrivateNamespace runs the tests in a mount namespace of their own, so that no
// mount can be left behind, not even by a test that is killed.
func inPrivateNamespace() int {
	runtime.LockOSThread() // Pdeathsig is about this thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), privateEnv+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// toucher builds testdata/toucher and returns where it is. It is a program of its own so
// that hundreds of them start fast, with the race detector in the tests too.
var toucher = sync.OnceValues(func() (string, error) {
	var err error
	if toucherDir, err = os.MkdirTemp("", "larder-toucher"); err != nil {
		return "", err
	}
	program := filepath.Join(toucherDir, "toucher")
	cmd := exec.Command("go", "build", "-o", program, "./testdata/toucher")
	cmd.Stderr = os.Stderr
	return program, cmd.Run()
})
