package realiser_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"larder/realiser"
	"larder/realiser/builder"
	"larder/store"
)

// outsideCase is a derivation of the fixtures that is built without a sandbox.
const outsideCase = "hint-no-chroot-relaxed"

// nixMountedTest says to the test binary that it has a /nix of its own.
const nixMountedTest = "LARDER_TEST_NIX_MOUNTED"

// The store directory must be there for that: in a mount namespace it is.
func TestNixDerivationOutside(t *testing.T) {
	t.Parallel()
	if os.Getenv(nixMountedTest) != "" {
		if err := unix.Mount("tmpfs", "/nix", "tmpfs", 0, "mode=0755"); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir("/nix/store", 0o755); err != nil {
			t.Fatal(err)
		}
	} else if st, err := os.Stat("/nix/store"); err != nil || !st.IsDir() {
		inOwnNix(t)
		return
	}
	box, s := realSandbox(t), openStore(t)
	loadDerivations(t, s)
	r := open(t, s, box, func(o *realiser.Options) { o.SandboxMode = builder.SandboxRelaxed })
	for _, c := range readCases(t) {
		if c.Case != outsideCase {
			continue
		}
		drv := parsePath(t, c.DrvPath)
		outcome, err := r.Build(t.Context(), store.Caller{}, realiser.Request{Targets: []realiser.Target{{Drv: drv}}})
		if err != nil {
			t.Fatal(err)
		}
		checkGood(t, r, s, c, drv, outcome.Results[0])
	}
}

// inOwnNix runs the test again where it may mount something at /nix.
func inOwnNix(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/nix"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs a directory /nix/store, or a directory /nix that root mounts one at")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), nixMountedTest+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("with an own /nix: %s", out)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Errorf("nothing was tested:\n%s", out)
	}
}
