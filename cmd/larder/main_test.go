package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"larder/realiser/builtin"
	"larder/sandbox/linux"
)

// asLarder makes the test binary be larder.
const asLarder = "LARDER_TEST_AS_LARDER"

func TestMain(m *testing.M) {
	linux.MaybeChild(builtin.All()...)
	if os.Getenv(asLarder) != "" {
		main()
	}
	os.Exit(m.Run())
}

// store is a store that larder processes work on.
type store struct {
	t   *testing.T
	dir string
}

func (s *store) command(args ...string) *exec.Cmd {
	args = append([]string{"--store-dir", s.dir + "/store", "--state-dir", s.dir + "/state", "--config", "/dev/null"}, args...)
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asLarder+"=1", "LARDER_CONFIG=")
	return cmd
}

// run returns the output, both streams together, and the exit status.
func (s *store) run(args ...string) (string, int) {
	s.t.Helper()
	cmd := s.command(args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
}

func (s *store) ok(args ...string) string {
	s.t.Helper()
	out, status := s.run(args...)
	if status != 0 {
		s.t.Fatalf("larder %s: status %d\n%s", strings.Join(args, " "), status, out)
	}
	return out
}

func (s *store) mounted() bool {
	s.t.Helper()
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Contains(string(b), " "+s.dir+"/store ")
}

func (s *store) await(what string, condition func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal(what + " did not happen within 20 seconds")
		}
	}
}

func newStore(t *testing.T) *store {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting here needs root; test/e2e does it as a user")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("no FUSE: %v", err)
	}
	s := &store{t, t.TempDir()}
	t.Cleanup(func() {
		if s.mounted() {
			s.ok("unmount")
		}
	})
	return s
}

func TestMountLife(t *testing.T) {
	s := newStore(t)
	file := filepath.Join(s.dir, "file")
	if err := os.WriteFile(file, []byte("contents"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := s.ok("add", file)
	if out := s.ok("mount", "--background"); out != "" {
		t.Errorf("mount says %q", out)
	}
	read := func() {
		t.Helper()
		// Another process reads: this one must not wait in the mount.
		if b, err := exec.Command("cat", p).Output(); err != nil || string(b) != "contents" {
			t.Errorf("%q, %v", b, err)
		}
	}
	read()
	var status struct {
		PID   int
		Mount string
	}
	if err := json.Unmarshal([]byte(s.ok("--json", "status")), &status); err != nil || status.Mount != s.dir+"/store" {
		t.Fatalf("%+v, %v", status, err)
	}
	for _, second := range []string{"mount", "daemon"} {
		if out, code := s.run(second); code != 1 || !strings.HasPrefix(out, "error: the store in "+s.dir+"/state has a daemon already: process ") {
			t.Errorf("a second %s: status %d, %s", second, code, out)
		}
	}
	// Added through the daemon, it is in the mount.
	if err := os.WriteFile(file, []byte("more"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := exec.Command("cat", s.ok("add", file)).Output(); err != nil || string(b) != "more" {
		t.Errorf("%q, %v", b, err)
	}

	if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.await("the end of the dead mount", func() bool { return !s.mounted() })
	read() // the plain directory
	s.ok("mount", "-vb")
	read()
	s.ok("unmount")
	if s.mounted() {
		t.Error("it is still mounted")
	}
	if _, err := os.Lstat(s.dir + "/state/control.sock"); err == nil {
		t.Error("the control socket is still there")
	}
	if out, code := s.run("unmount"); code != 1 || !strings.Contains(out, "no store is mounted there") {
		t.Errorf("unmounted twice: %d, %s", code, out)
	}
	read()
}

func TestForegroundEndsWithSignal(t *testing.T) {
	s := newStore(t)
	cmd := s.command("-v", "mount")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.await("the mount", func() bool { o, _ := s.run("status"); return strings.Contains(o, "mounted at") })
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if s.mounted() {
		t.Error("it is still mounted")
	}
}

// TestBackgroundFailure: what the process in the background says, and its status, reach whoever started it.
func TestBackgroundFailure(t *testing.T) {
	s := newStore(t)
	bad := filepath.Join(s.dir, "bad")
	if err := os.WriteFile(bad, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.dir+"/state", 0o755); err != nil {
		t.Fatal(err)
	}
	// The directories that were made for a mount that fails are gone again.
	if err := os.Symlink("nowhere", s.dir+"/state/db"); err != nil {
		t.Fatal(err)
	}
	if out, code := s.run("mount"); code != 1 || !strings.HasPrefix(out, "error: ") || !strings.Contains(out, s.dir+"/state/db") || strings.Contains(out, "\n") {
		t.Errorf("status %d, %s", code, out)
	}
	if _, err := os.Lstat(s.dir + "/store"); err == nil {
		t.Errorf("%s was left behind", s.dir+"/store")
	}
	out, code := s.run("mount", "--background", bad)
	if code != 1 || !strings.HasPrefix(out, "error: ") || !strings.Contains(out, bad) || strings.Contains(out, "\n") {
		t.Errorf("status %d, %s", code, out)
	}
}
