package linux_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// TestPersonality: no address randomisation, the 32-bit machine of a 32-bit platform, an old kernel's version on demand.
func TestPersonality(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skipf("knows what an x86_64 machine is called, this is %s", runtime.GOARCH)
	}
	var name unix.Utsname
	must(t, unix.Uname(&name))
	release := unix.ByteSliceToString(name.Release[:])
	for _, c := range []struct {
		platform string
		old      bool
		want     string
	}{
		{"", false, "x86_64 00040000"}, {"x86_64-linux", false, "x86_64 00040000"},
		{"i686-linux", false, "i686 00040008"}, {"i686-linux", true, "i686 00060008"},
	} {
		s := newSpec(t, "echo $(uname -m) $(cat /proc/self/personality); uname -r")
		s.Platform, s.ImpersonateLinux26 = c.platform, c.old
		got, kernel, _ := strings.Cut(strings.TrimSpace(run(t, s)), "\n")
		if got != c.want || !strings.HasPrefix(kernel, map[bool]string{false: release, true: "2.6."}[c.old]) {
			t.Errorf("%s, old %t: got %q and %q, want %q", c.platform, c.old, got, kernel, c.want)
		}
	}
}

// TestSession: the builder leads a session and a process group, and its terminal is its own.
func TestSession(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		s := newSpec(t, `
			cut -d' ' -f5,6,7 /proc/1/stat
			for fd in 1 2; do stat -L -c '%a %u %F' /proc/self/fd/$fd; done
			[ "$(stat -L -c %i /proc/1/fd/1)" = "$(stat -L -c %i /proc/1/fd/2)" ] && echo one terminal
			stat -L -c '%t:%T' /dev/stdin
			cat /proc/self/oom_score_adj`)
		adjust, err := os.ReadFile("/proc/self/oom_score_adj")
		must(t, err)
		want := lines("1 1 0", "600 1000 character special file", "600 1000 character special file", "one terminal", "1:3") + string(adjust)
		if got := run(t, s); got != want {
			t.Fatalf("got:\n%s\nwant:\n%s", got, want)
		}
	})
}

// TestName: a program's own name is what the Spec says, whatever the program is called.
func TestName(t *testing.T) {
	s := newSpec(t, "")
	s.Mounts = append(s.Mounts, sandbox.Mount{Source: program(t, runtime.GOARCH), Target: "/bin/calls"})
	s.Builder, s.Args = "/bin/calls", []string{"own name", "name"}
	if got, want := run(t, s), "name own name\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestNetworkFiles: how to find hosts and services comes with the network, and only with it.
func TestNetworkFiles(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		script := "for f in hosts resolv.conf services nsswitch.conf; do echo \"-- $f\"; cat /etc/$f 2>/dev/null; done; true"
		want := ""
		for _, f := range []string{"hosts", "resolv.conf", "services"} {
			text, err := os.ReadFile("/etc/" + f)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			want += "-- " + f + "\n" + string(text)
		}
		want += "-- nsswitch.conf\nhosts: files dns\nservices: files\n"
		s := newSpec(t, script)
		s.Network = true
		if got := run(t, s); got != want {
			t.Errorf("with network: %s", firstDifference(got, want))
		}
		want = "-- hosts\n127.0.0.1 localhost\n::1 localhost\n-- resolv.conf\n-- services\n-- nsswitch.conf\n"
		if got := run(t, newSpec(t, script)); got != want {
			t.Errorf("without network: %s", firstDifference(got, want))
		}
	})
}

// TestNameServiceCache: nscd of the host answers builders that have the network.
func TestNameServiceCache(t *testing.T) {
	const socket = "/var/run/nscd/socket"
	calls := program(t, runtime.GOARCH)
	if os.Getenv("LARDER_TEST_NSCD") == "" {
		if os.Geteuid() != 0 {
			t.Skip("needs root to make a socket there, in a mount namespace")
		}
		inMountNamespace(t, "LARDER_TEST_NSCD=1")
		return
	}
	must(t, unix.Mount("none", "/run", "tmpfs", 0, ""))
	must(t, os.Mkdir("/run/nscd", 0o755))
	listener, err := net.Listen("unix", socket)
	must(t, err)
	defer listener.Close()
	must(t, os.Chmod(socket, 0o666))
	for network, want := range map[bool]string{true: "ok", false: "ENOENT"} {
		s := newSpec(t, "")
		s.Network = network
		expect(t, runProgram(t, s, calls, "socket", socket), "connect", want)
	}
}

// inMountNamespace runs the calling test once more where mounts are private, with a variable to know that by.
func inMountNamespace(t *testing.T, variable string) {
	t.Helper()
	cmd := exec.CommandContext(deadline(t), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable, "TMPDIR="+t.TempDir())
	// Go makes all mounts private there.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestDevices: a device that is mounted works if the Spec says so.
func TestDevices(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		for _, works := range []bool{false, true} {
			s := newSpec(t, "head -c 3 /dev/kvm | tr '\\0' x && echo; [ -c /dev/kvm ] && ls /dev | wc -w")
			// Not everybody may open /dev/kvm.
			s.Mounts = append(s.Mounts, sandbox.Mount{Source: "/dev/zero", Target: "/dev/kvm", Devices: works})
			want := "head: /dev/kvm: Permission denied\n\n14\n"
			if works {
				want = "xxx\n14\n"
			}
			if got := run(t, s); got != want {
				t.Errorf("devices %t: got %q, want %q", works, got, want)
			}
		}
	})
}

// TestReplacedDevices: /dev and /dev/pts of the Spec are instead of the sandbox's own, its /proc is none.
func TestReplacedDevices(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.Chmod(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "own"), nil, 0o644))
		null := filepath.Join(dir, "null") // as /dev, it is where the builder's standard input comes from
		must(t, os.WriteFile(null, nil, 0o644))
		for target, want := range map[string]string{
			"/dev":     "null\nown\n--\n",
			"/dev/pts": "fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n--\nnull\nown\n",
			"/proc":    "fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n--\nptmx\n",
		} {
			s := newSpec(t, "ls -1 /dev; echo --; ls -1 /dev/pts 2>/dev/null; [ -e /proc/self/stat ] || echo no proc; [ -e /proc/own ] && echo own proc; true")
			s.Mounts = append(s.Mounts, sandbox.Mount{Source: dir, Target: target})
			if target == "/dev" {
				s.Mounts = append(s.Mounts, sandbox.Mount{Source: "/dev/null", Target: "/dev/null", Devices: true})
			}
			if got := run(t, s); got != want {
				t.Errorf("%s: got:\n%s\nwant:\n%s", target, got, want)
			}
		}
	})
}

func TestDevShmSize(t *testing.T) {
	s := newSpec(t, "df -P -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d' ' -f2")
	s.DevShmSize = "1280k"
	if got := run(t, s); got != "1280\n" {
		t.Errorf("%q", got)
	}
}

// TestNoFilter: what two settings of Nix leave out.
func TestNoFilter(t *testing.T) {
	script := "grep -E '^(NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t'"
	for want, change := range map[string]func(*sandbox.Spec){
		"NoNewPrivs:1\nSeccomp:2\n": func(*sandbox.Spec) {},
		"NoNewPrivs:1\nSeccomp:0\n": func(s *sandbox.Spec) { s.NoSyscallFilter = true },
		"NoNewPrivs:0\nSeccomp:2\n": func(s *sandbox.Spec) { s.AllowNewPrivileges = true },
	} {
		s := newSpec(t, script)
		change(s)
		if got := run(t, s); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
