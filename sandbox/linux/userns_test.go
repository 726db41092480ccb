package linux_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// onlyRoot says to the test binary that there are no users but root.
const onlyRoot = "LARDER_TEST_ONLY_ROOT"

// TestInUserNamespace: a plain user may be root of a user namespace (unshare --map-root-user), in which groups cannot be changed.
func TestInUserNamespace(t *testing.T) {
	newRunner(t) // skips where builds cannot run at all
	if os.Getenv(onlyRoot) == "" {
		cmd := exec.CommandContext(deadline(t), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), onlyRoot+"=1", "TMPDIR="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if got := run(t, newSpec(t, "id -u")); got != "1000\n" {
		t.Errorf("got %q", got)
	}
}
