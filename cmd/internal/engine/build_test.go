package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"larder/cmd/internal/config"
	"larder/cmd/internal/engine"
	"larder/realiser"
	"larder/realiser/result"
	"larder/sandbox"
	"larder/sandbox/linux"
	"larder/store"
	"larder/store/derivation"
	"larder/test/ids"
)

func TestMain(m *testing.M) {
	linux.MaybeChild()
	os.Exit(m.Run())
}

const busybox = "/bin/busybox"

var scripts atomic.Int64

// build runs a shell script as builder and returns what it wrote to its output.
func build(t *testing.T, e *engine.Engine, script string, env map[string]string) (string, error) {
	t.Helper()
	if _, err := os.Stat(busybox); err != nil {
		t.Skipf("the builders are shell scripts for the static busybox: %v", err)
	}
	s := e.Store()
	d := &derivation.Derivation{Name: fmt.Sprint("script-", scripts.Add(1)), System: "x86_64-linux", Builder: busybox, Args: []string{"sh", "-ec", script},
		Outputs: map[string]derivation.Output{"out": {}}, Env: map[string]string{}}
	for k, v := range env {
		d.Env[k] = v
	}
	if system, ok := env["system"]; ok {
		d.System = system
	}
	if err := derivation.NewHasher(s.Dir(), s.Derivation).Fill(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	drv, err := s.AddDerivation(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Realiser(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	o, err := r.Build(t.Context(), store.Caller{}, realiser.Request{Targets: []realiser.Target{{Drv: drv}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Results[0].Err; err != nil {
		return "", err
	}
	text, err := os.ReadFile(s.ObjectPath(d.Outputs["out"].Path))
	return string(text), err
}

// Each setting of the sandbox reaches the builder.
func TestSandboxSettings(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		p := filepath.Join(top, name)
		if err := os.WriteFile(p, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := errors.Join(os.Chmod(top, 0o755), os.Chmod(filepath.Dir(top), 0o755)); err != nil {
		t.Fatal(err)
	}
	file := write("file", "file\n", 0o644)
	hook := write("hook", "#!/bin/busybox sh\nprintf 'extra-sandbox-paths\n/hooked="+file+"\n\n'\n", 0o755)
	const (
		setuid = ": > x; chmod u+s x 2> /dev/null && echo yes > $out || echo no > $out"
		noNew  = "grep NoNewPrivs /proc/self/status > $out"
		shm    = "dd if=/dev/zero of=/dev/shm/x bs=1024 count=3000 2> /dev/null && echo fits > $out || echo full > $out"
		kernel = "uname -r | cut -c -4 > $out"
	)
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	see := "[ -e " + file + " ] && echo outside > $out || echo inside > $out"
	noChroot := map[string]string{"__noChroot": "1"}
	for _, c := range []struct {
		settings string // "name = value; …"
		script   string
		env      map[string]string
		want     string
	}{
		{"", see, nil, "inside\n"},
		{"sandbox = yes", see, nil, "inside\n"},
		{"sandbox = false", see, nil, "outside\n"},
		{"build-use-sandbox = no", see, nil, "outside\n"},
		{"build-use-chroot = relaxed", see, nil, "inside\n"},
		{"sandbox = relaxed", see, noChroot, "outside\n"},
		{"sandbox-paths = /in=" + file + " /missing?", "cat /in > $out", nil, "file\n"},
		{"allowed-impure-host-deps = " + top, "cat " + file + " > $out", map[string]string{"__impureHostDeps": file}, "file\n"},
		{"pre-build-hook = " + hook, "cat /hooked > $out", nil, "file\n"},
		{"sandbox-build-dir = /elsewhere", "pwd > $out", nil, "/elsewhere\n"},
		{"", shm, nil, "fits\n"},
		{"sandbox-dev-shm-size = 1m", shm, nil, "full\n"},
		{"", setuid, nil, "no\n"},
		{"filter-syscalls = false", setuid, nil, "yes\n"},
		{"", noNew, nil, "NoNewPrivs:\t1\n"},
		{"allow-new-privileges = true", noNew, nil, "NoNewPrivs:\t0\n"},
		{"", kernel, nil, string(release[:4]) + "\n"},
		{"impersonate-linux-26 = true", kernel, nil, "2.6.\n"},
	} {
		t.Run(c.settings, func(t *testing.T) {
			got, err := build(t, openWith(t, c.settings), c.script, c.env)
			if err != nil || got != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
	_, err := build(t, openWith(t, ""), see, noChroot)
	var e *result.BuildError
	if !errors.As(err, &e) || e.Status != result.InputRejected {
		t.Errorf("__noChroot in a sandbox: %v", err)
	}
}

// What this machine builds.
func TestPlatformSettings(t *testing.T) {
	t.Parallel()
	if c := config.Default(); c.System != "x86_64-linux" {
		t.Skipf("a %s has no other platforms", c.System)
	}
	const machine = "uname -m > $out"
	for _, c := range []struct{ settings, system, features, want string }{
		{"", "x86_64-linux", "", "x86_64\n"},
		{"", "i686-linux", "", "i686\n"},
		{"", "x86_64-v1-linux", "", "x86_64\n"},
		{"extra-platforms = i586-linux", "i586-linux", "", "x86_64\n"},
		{"extra-platforms =", "i686-linux", "", "a 'i686-linux' with features {} is required"},
		{"", "aarch64-linux", "", "a 'aarch64-linux' with features {} is required"},
		{"", "x86_64-linux", "big-parallel benchmark ca-derivations", "x86_64\n"},
		{"system-features = quantum", "x86_64-linux", "quantum", "x86_64\n"},
		{"extra-system-features = quantum", "x86_64-linux", "quantum benchmark", "x86_64\n"},
		{"system-features = benchmark", "x86_64-linux", "quantum benchmark",
			"a 'x86_64-linux' with features {benchmark, quantum} is required"},
	} {
		got, err := build(t, openWith(t, c.settings), machine, map[string]string{"system": c.system, "requiredSystemFeatures": c.features})
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%+v: %q", c, got)
		}
	}
	if got, want := slices.Contains(config.Default().SystemFeatures, "kvm"), unix.Access("/dev/kvm", unix.R_OK|unix.W_OK) == nil; got != want {
		t.Errorf("kvm is offered: %v, usable: %v", got, want)
	}
}

// openWith opens an engine with settings that stand after each other.
func openWith(t *testing.T, settings string) *engine.Engine {
	t.Helper()
	var options [][2]string
	for s := range strings.SplitSeq(settings, "; ") {
		if name, value, ok := strings.Cut(s, "="); ok {
			options = append(options, [2]string{strings.TrimSpace(name), strings.TrimSpace(value)})
		}
	}
	e := open(t, append(options, [2]string{"extra-sandbox-paths", busybox})...)
	top := filepath.Dir(string(e.Store().Dir()))
	// Builders that are other users must come there.
	if err := errors.Join(os.Chmod(top, 0o755), os.Chmod(filepath.Dir(top), 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(string(e.Store().Dir()), 0o755); err != nil { // as if it were mounted
		t.Fatal(err)
	}
	return e
}

// Who builders run as.
func TestIdentitySettings(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can run builders as other users")
	}
	own := ids.New(t)
	start := fmt.Sprintf("userpool-dir = %s; start-id = %d", own.Dir, own.Start)
	for _, c := range []struct{ settings, locks, want string }{
		{"build-users-group = nixbld", "userpool-dir = " + ids.Machine(t), nixbld(t)},
		{"auto-allocate-uids = true", start, fmt.Sprint(own.Start, own.Start+1<<16)},
		{"build-users-group =; id-count = 65536", start, fmt.Sprint(own.Start)},
	} {
		t.Run(c.settings, func(t *testing.T) {
			if c.want == "" {
				t.Skip("needs the group nixbld with members (Debian: nix-setup-systemd)")
			}
			got, err := build(t, openWith(t, "sandbox = false; "+c.locks+"; "+c.settings), "id -u > $out", nil)
			if err != nil || !strings.Contains(" "+c.want+" ", " "+strings.TrimSpace(got)+" ") {
				t.Errorf("it runs as %q, %v; want one of %s", got, err, c.want)
			}
		})
	}
	_, err := build(t, openWith(t, "build-users-group = no-such-group"), "echo > $out", nil)
	if err == nil || !strings.HasSuffix(err.Error(), "the group 'no-such-group' specified in 'build-users-group' does not exist") {
		t.Error(err)
	}
}

// nixbld are the user ids of the group's members.
func nixbld(t *testing.T) string {
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Split(line, ":"); strings.HasPrefix(f[0], "nixbld") {
			ids = append(ids, f[2])
		}
	}
	return strings.Join(ids, " ")
}

// cgroupDir is a setting for a new control group of version 2, or nothing where none can be made.
func cgroupDir(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[2] != "cgroup2" {
			continue
		}
		dir := filepath.Join(f[1], fmt.Sprint("larder-test-", os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			break
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		return "; cgroup-dir = " + dir
	}
	return ""
}

// Limits by control groups, which the program must be allowed to make.
func TestLimitSettings(t *testing.T) {
	t.Parallel()
	dir := cgroupDir(t)
	for _, c := range []struct{ settings, script, says string }{
		{"build-memory-limit = 30M", "busybox dd if=/dev/zero of=/dev/shm/x bs=1M count=100", "memory limit"},
		{"build-processes-limit = 5", "for i in 1 2 3 4 5 6 7 8; do busybox sleep 100 & done; echo > $out", "processes"},
		{"use-cgroups = true", "echo > $out", ""},
		{"build-cpu-limit = 50", "echo > $out", ""},
	} {
		t.Run(c.settings, func(t *testing.T) {
			_, err := build(t, openWith(t, c.settings+dir), c.script, nil)
			var setup *sandbox.SetupError
			if errors.As(err, &setup) && setup.Stage == sandbox.StageCgroup {
				t.Skipf("no control groups here: %v", err)
			}
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("want %q: %v", c.says, err)
			}
		})
	}
}
