package realiser_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"larder/nar/tree"
	"larder/realiser"
	"larder/realiser/userpool"
	"larder/sandbox/linux"
	"larder/store"
	"larder/store/derivation"
	"larder/store/local"
	"larder/test/fixture"
	"larder/test/ids"
)

// identityCases are the derivations in which it could show who runs the builder:
// modes, owners, read-only directories, several outputs, passed files.
var identityCases = []string{"ia-multi", "ia-symlink-to-dep", "out-modes", "out-hardlinks", "out-deep", "out-replaced", "env-probe",
	"env-pass-as-file", "env-home-tmp", "fixed-r-sha256", "out-setuid", "out-fifo", "fail-write-outside", "fail-exit-1",
	"builtin-buildenv", "builtin-fetchurl", "builtin-unpack-channel", "builtin-unpack-channel-two"}

func buildIdentityCases(t *testing.T, change func(*realiser.Options)) {
	box, s := realSandbox(t), openStore(t)
	loadDerivations(t, s)
	r := open(t, s, box, change)
	buildReadOnly(t, s, r)
	for _, c := range readCases(t) {
		for _, name := range identityCases {
			if c.Case != name {
				continue
			}
			t.Run(c.Case, func(t *testing.T) {
				drv := parsePath(t, c.DrvPath)
				o, err := r.Build(t.Context(), store.Caller{}, realiser.Request{Targets: []realiser.Target{{Drv: drv}}})
				if err != nil {
					t.Fatal(err)
				}
				if c.Expect == "ok" {
					checkGood(t, r, s, c, drv, o.Results[0])
				} else {
					checkFailure(t, c, o.Results[0])
				}
			})
		}
	}
}

// buildUsers are ids that no account has, and no other test.
func buildUsers(t testing.TB) *userpool.Pool {
	t.Helper()
	own := ids.New(t)
	p, err := userpool.New(userpool.Options{Dir: own.Dir, Ranges: true, StartID: own.Start, IDCount: own.Count, Kill: linux.KillUser})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Lends() {
		t.Skip("no ids of the kernel are left for build users in this user namespace")
	}
	return p
}

// Builders that run as build users make the same.
func TestBuildUsers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can run builders as other users")
	}
	buildIdentityCases(t, func(o *realiser.Options) { o.Users = buildUsers(t) })
}

// unprivilegedTest says to the test binary that it runs as a user without privileges.
const unprivilegedTest = "LARDER_TEST_UNPRIVILEGED_TMP"

// A user without privileges makes the same.
func TestUnprivileged(t *testing.T) {
	t.Parallel()
	if os.Getenv(unprivilegedTest) != "" {
		buildIdentityCases(t, nil)
		return
	}
	if os.Geteuid() != 0 {
		buildIdentityCases(t, nil)
		return
	}
	const user = 30003
	tmp, err := os.MkdirTemp("", "larder-realiser-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Remove(context.Background(), tmp); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chown(tmp, user, user); err != nil {
		t.Fatal(err)
	}
	if out, err := asUser(user, tmp, "/bin/test", "-r", fixture.Path(t, "derivations/drvs.tar.zst")); err != nil {
		t.Skipf("another user can't read the fixtures where they lie: %v %s", err, out)
	}
	out, err := asUser(user, tmp, "/proc/self/exe", "-test.run=^TestUnprivileged$", "-test.v", "-test.timeout=60s")
	switch {
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case strings.Contains(out, "--- SKIP"):
		t.Skipf("as user %d: %s", user, out)
	case !strings.Contains(out, "--- PASS: TestUnprivileged/out-modes"):
		t.Errorf("nothing was tested:\n%s", out)
	}
}

// asUser runs a program as another user, in the package's folder.
func asUser(uid int, tmp, program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), unprivilegedTest+"="+tmp, "TMPDIR="+tmp, "HOME="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// addScript registers a derivation whose builder is a shell script.
func addScript(t testing.TB, s *local.Store, name, script string) (drvPath, out store.StorePath) {
	t.Helper()
	d := &derivation.Derivation{Name: name, System: "x86_64-linux", Builder: "/bin/sh", Args: []string{"-ec", script},
		Outputs: map[string]derivation.Output{"out": {}}, Env: map[string]string{}}
	return addDrv(t, s, d), d.Outputs["out"].Path
}

// Directories that nobody may write in, in the output and in the build
// directory, hinder neither registration nor removal.
func buildReadOnly(t *testing.T, s *local.Store, r *realiser.Realiser) {
	t.Helper()
	_, out := addScript(t, s, "read-only", `
		mkdir -p $out/d ro/d; echo x > $out/d/f; : > ro/d/f; ln -s / ro/root
		chmod 555 $out/d $out; chmod 000 ro/d ro`)
	if err := r.Realise(t.Context(), store.Caller{}, out); err != nil {
		t.Error(err)
	}
}
