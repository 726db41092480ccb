package linux_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// program compiles testdata/calls for an architecture, static.
func program(t *testing.T, arch string) string {
	t.Helper()
	if prebuilt := os.Getenv("LARDER_TEST_CALLS_" + arch); prebuilt != "" {
		return prebuilt
	}
	out := filepath.Join(t.TempDir(), "calls")
	cmd := exec.Command("go", "build", "-o", out, "./testdata/calls")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("needs the go command to compile a program for %s: %v\n%s", arch, err, text)
	}
	// For the run as an ordinary user, which has no build cache.
	for dir := filepath.Dir(out); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	t.Setenv("LARDER_TEST_CALLS_"+arch, out)
	return out
}

// runProgram runs it in s, and gives its lines as a map from call to outcome.
func runProgram(t *testing.T, s *sandbox.Spec, path string, args ...string) map[string]string {
	t.Helper()
	s.Mounts = append(s.Mounts, sandbox.Mount{Source: path, Target: "/bin/calls"})
	s.Builder, s.Args = "/bin/calls", append([]string{"calls"}, args...)
	said := make(map[string]string)
	for line := range strings.Lines(run(t, s)) {
		if i := strings.LastIndexByte(line, ' '); i > 0 {
			said[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	return said
}

func expect(t *testing.T, said map[string]string, call string, outcomes ...string) {
	t.Helper()
	for _, o := range outcomes {
		if said[call] == o {
			return
		}
	}
	t.Errorf("%s: got %q, want %s", call, said[call], strings.Join(outcomes, " or "))
}

// TestFilter: every call that can set a set-user-id or set-group-id bit, or an extended attribute, in each of the machine's
// system call tables.
func TestFilter(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skipf("the program has x86 system calls, this is %s", runtime.GOARCH)
	}
	for _, arch := range []string{"amd64", "386"} {
		t.Run(arch, func(t *testing.T) {
			calls := program(t, arch)
			said := runProgram(t, newSpec(t, ""), calls, "modes")
			for _, call := range []string{"chmod", "fchmod", "fchmodat", "fchmodat2", "creat", "open", "openat", "openat-tmpfile", "mknod", "mknodat"} {
				for _, mode := range []string{"4755", "2755", "6755"} {
					expect(t, said, mode+" "+call, "EPERM")
				}
				if call == "fchmodat2" {
					expect(t, said, "755 "+call, "ok", "ENOSYS")
				} else {
					expect(t, said, "755 "+call, "ok")
				}
			}
			for _, mode := range []string{"4755", "2755", "6755", "755"} {
				expect(t, said, mode+" open-existing", "ok")
			}
			expect(t, said, "mode", "755")
			for _, call := range []string{"openat2", "io_uring_setup", "io_uring_enter", "io_uring_register"} {
				expect(t, said, call, "ENOSYS")
			}
			for _, call := range []string{"setxattr", "removexattr"} {
				for _, form := range []string{call, "l" + call, "f" + call, call + "at"} {
					expect(t, said, form, "EOPNOTSUPP", "ENOTSUP")
				}
			}
			s := newSpec(t, "")
			s.NoSyscallFilter = true
			expect(t, runProgram(t, s, calls, "modes"), "4755 chmod", "ok")
		})
	}
}

func TestEscapes(t *testing.T) {
	calls := program(t, runtime.GOARCH)
	everyIdentity(t, func(t *testing.T) {
		victim := exec.Command("sleep", "60")
		must(t, victim.Start())
		defer func() { _ = victim.Process.Kill(); _ = victim.Wait() }()
		dep := filepath.Join(t.TempDir(), "dep")
		must(t, os.Mkdir(dep, 0o755))
		s := newSpec(t, "")
		s.Mounts = append(s.Mounts, sandbox.Mount{Source: dep, Target: "/nix/store/dep"})
		said := runProgram(t, s, calls, "escapes", fmt.Sprint(victim.Process.Pid))
		for call, outcome := range said {
			switch call {
			case "kill host", "ptrace host":
				// Process ids of the host mean nothing here.
				expect(t, said, call, "ESRCH")
			case "nested mount":
				expect(t, said, call, "ok")
			default:
				if outcome == "ok" {
					t.Errorf("%s: allowed", call)
				}
			}
		}
		for _, call := range []string{"mount", "mknod block", "setuid 0", "nested mount", "nested umount input", "nested remount input"} {
			if said[call] == "" {
				t.Errorf("%s was not tried: %v", call, said)
			}
		}
		if err := victim.Process.Signal(unix.Signal(0)); err != nil {
			t.Errorf("the host's process is gone: %v", err)
		}
	})
}

// TestHostRoot: without build users root's builds have root's user id, and still no power.
func TestHostRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	calls := program(t, runtime.GOARCH)
	s := newSpec(t, "")
	s.HostUID, s.HostGID = sandbox.CallingUser, sandbox.CallingUser
	must(t, os.Chown(s.BuildDir, 0, 0))
	said := runProgram(t, s, calls, "escapes", fmt.Sprint(os.Getppid()))
	for _, call := range []string{"open /proc/sys/kernel/core_pattern", "open /proc/sysrq-trigger", "open /proc/sys/vm/drop_caches"} {
		expect(t, said, call, "EROFS", "EACCES", "EPERM", "ENOENT")
	}
	expect(t, said, "mount", "EPERM")
	expect(t, said, "mknod block", "EPERM")
}

// TestAbstractSocket: sockets without a file belong to the network namespace.
func TestAbstractSocket(t *testing.T) {
	calls := program(t, runtime.GOARCH)
	everyIdentity(t, func(t *testing.T) {
		name := fmt.Sprintf("larder-test-%d-%d", os.Getpid(), os.Geteuid())
		listener, err := net.Listen("unix", "@"+name)
		must(t, err)
		defer listener.Close()
		said := runProgram(t, newSpec(t, ""), calls, "socket", "@"+name)
		expect(t, said, "connect", "ECONNREFUSED")
		abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, 1)
		if errno != 0 || abi < 6 {
			t.Skip("needs a kernel with Landlock's scopes (6.12) for builds with network")
		}
		s := newSpec(t, "")
		s.Network = true
		expect(t, runProgram(t, s, calls, "socket", "@"+name), "connect", "EPERM")
	})
}

// TestHostInvisible: nothing of the host's files, of its processes and of the rest of the store is there.
func TestHostInvisible(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		objects := t.TempDir()
		for _, name := range []string{"declared", "undeclared"} {
			must(t, os.Mkdir(filepath.Join(objects, name), 0o755))
			must(t, os.WriteFile(filepath.Join(objects, name, "file"), []byte(name+"\n"), 0o644))
		}
		must(t, os.Chmod(objects, 0o755))
		s := newSpec(t, fmt.Sprintf(`
			cat /nix/store/declared/file
			for f in /nix/store/undeclared/file /nix/store/declared/../undeclared/file %s/undeclared/file \
				/proc/1/root%s/undeclared/file /proc/self/cwd/../..%s/undeclared/file \
				/etc/shadow /etc/os-release /usr/bin /sys/kernel /root /home /var /run /dev/mem /dev/vda /dev/sda; do
				[ -e $f ] && echo sees $f
			done
			cd /; cd ../../../..; ls -d usr 2>/dev/null
			ls /proc | grep -c '^[0-9]'`, objects, objects, objects))
		s.Mounts = append(s.Mounts, sandbox.Mount{Source: filepath.Join(objects, "declared"), Target: "/nix/store/declared"})
		// The shell, ls and grep.
		if got, want := run(t, s), "declared\n3\n"; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}
