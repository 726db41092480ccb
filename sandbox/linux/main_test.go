package linux_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"larder/sandbox"
	"larder/sandbox/linux"
)

// helpers are programs that this test binary is when it finds its name in LARDER_TEST_HELPER.
var helpers = map[string]func(){
	"daemon": daemonHelper,
	"killer": killerHelper,
}

func TestMain(m *testing.M) {
	linux.MaybeChild(builtins...)
	if name := os.Getenv("LARDER_TEST_HELPER"); name != "" {
		helpers[name]()
		return
	}
	os.Exit(m.Run())
}

const (
	busybox = "/bin/busybox"
	// unprivileged is a user that need not exist, for tests of what an ordinary user can do.
	unprivileged = 64321
	// buildUser is another one, who owns the builds that root runs.
	buildUser = 64322
)

// newRunner is a runner that the test's end closes.
func newRunner(t testing.TB) *linux.Runner {
	t.Helper()
	if _, err := os.Stat(busybox); err != nil {
		t.Skipf("needs a static busybox as builder (Debian: busybox-static): %v", err)
	}
	r, err := linux.New(linux.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// newSpec is a build of `busybox sh -c script` with nothing else in its store. Root builds as buildUser.
func newSpec(t testing.TB, script string) *sandbox.Spec {
	t.Helper()
	base := t.TempDir()
	s := &sandbox.Spec{
		Builder:    "/bin/sh",
		Args:       []string{"sh", "-c", script},
		Env:        []string{"PATH=/bin", "HOME=/homeless-shelter"},
		StoreDir:   "/nix/store",
		BuildStore: filepath.Join(base, "store"),
		BuildDir:   filepath.Join(base, "build"),
		Mounts: []sandbox.Mount{
			{Source: busybox, Target: "/bin/sh"},
			{Source: busybox, Target: "/bin/busybox"},
		},
		UID: 1000, GID: 100,
		HostUID: sandbox.CallingUser, HostGID: sandbox.CallingUser,
	}
	for _, dir := range []string{s.BuildStore, s.BuildDir} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 && os.Getenv(onlyRoot) == "" {
		s.HostUID, s.HostGID = buildUser, buildUser
		must(t, os.Chown(s.BuildDir, buildUser, buildUser))
		must(t, os.Chown(s.BuildStore, 0, buildUser))
		must(t, os.Chmod(s.BuildStore, 0o775|os.ModeSticky))
	}
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// deadline bounds a test that would hang otherwise.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// run runs s and wants it to succeed; it returns the log.
func run(t testing.TB, s *sandbox.Spec) string {
	t.Helper()
	var log bytes.Buffer
	result, err := newRunner(t).Run(deadline(t), s, &log)
	if err != nil {
		t.Fatal(err)
	}
	if !result.Success() {
		t.Fatalf("%s; log:\n%s", result, &log)
	}
	return log.String()
}

// everyIdentity runs a test as the user who runs the tests, and if that is root, once more as an ordinary user.
func everyIdentity(t *testing.T, test func(t *testing.T)) {
	if os.Geteuid() != 0 {
		test(t)
		return
	}
	t.Run("root", test)
	t.Run("user", func(t *testing.T) { asUser(t) })
}

// asUser runs the calling test's function again in a process without privileges: there everyIdentity finds no root.
func asUser(t *testing.T, changes ...func(*exec.Cmd)) {
	t.Helper()
	name := strings.TrimSuffix(t.Name(), "/user")
	tmp := t.TempDir()
	// The whole way there must be passable.
	for dir := tmp; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	must(t, os.Chown(tmp, unprivileged, unprivileged))
	program := filepath.Join(tmp, "test")
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile(program, self, 0o755))
	cmd := exec.CommandContext(deadline(t), program, "-test.run=^"+name+"$", "-test.v")
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: unprivileged, Gid: unprivileged}}
	for _, change := range changes {
		change(cmd)
	}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("as an ordinary user:\n%s", out)
	case !bytes.Contains(out, []byte("--- PASS: "+name)):
		t.Fatalf("did not run:\n%s", out)
	}
}

// wantSetupError wants err to be of this stage, and about this path.
func wantSetupError(t *testing.T, err error, stage sandbox.Stage, path string, cause error) {
	t.Helper()
	var setup *sandbox.SetupError
	if !errors.As(err, &setup) {
		t.Fatalf("got %v, want a *sandbox.SetupError", err)
	}
	if setup.Stage != stage || setup.Path != path || cause != nil && !errors.Is(err, cause) {
		t.Fatalf("got stage %q path %q: %v, want stage %q path %q: %v", setup.Stage, setup.Path, err, stage, path, cause)
	}
}

func lines(s ...string) string { return fmt.Sprintln(strings.Join(s, "\n")) }
