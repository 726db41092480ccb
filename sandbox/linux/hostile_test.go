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
	programs := map[string]string{"amd64": program(t, "amd64"), "386": program(t, "386")}
	everyIdentity(t, func(t *testing.T) {
		for arch, calls := range programs {
			said := runProgram(t, newSpec(t, ""), calls, "modes")
			forms := []string{"chmod", "fchmod", "fchmodat", "fchmodat2", "creat", "open", "openat", "openat-tmpfile", "mknod", "mknodat", "chmod-directory"}
			if arch == "amd64" {
				// Kernels need not have these tables.
				forms = append(forms, "int80-chmod", "int80-fchmodat", "x32-chmod", "x32-fchmodat2")
			}
			for _, call := range forms {
				mayBeAbsent := strings.HasPrefix(call, "x32") || call == "fchmodat2"
				for _, mode := range []string{"4755", "2755", "6755"} {
					expect(t, said, mode+" "+call, "EPERM")
				}
				if mayBeAbsent {
					expect(t, said, "755 "+call, "ok", "ENOSYS")
				} else {
					expect(t, said, "755 "+call, "ok")
				}
			}
			for _, mode := range []string{"4755", "2755", "6755", "755"} {
				expect(t, said, mode+" open-existing", "ok")
			}
			for _, file := range []string{"f", "l755", "l6755", "m6755"} {
				expect(t, said, "mode of "+file, "755")
			}
			for _, call := range []string{"openat2", "io_uring_setup", "io_uring_enter", "io_uring_register"} {
				expect(t, said, call, "ENOSYS")
			}
			attributes := []string{
				"setxattr user.x", "setxattr security.capability", "setxattr system.posix_acl_access", "setxattr system.posix_acl_default",
				"lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr", "removexattrat",
			}
			for _, call := range attributes {
				expect(t, said, call, "EOPNOTSUPP", "ENOTSUP")
			}
			s := newSpec(t, "")
			s.NoSyscallFilter = true
			expect(t, runProgram(t, s, calls, "modes"), "4755 chmod", "ok")
		}
	})
}

// harmless are the probes of testdata/calls that may succeed.
var harmless = map[string]bool{
	// In namespaces of the builder's own it mounts what it likes, without the rights of anybody but itself.
	"nested mount": true, "nested chroot": true,
	// They are started, but do not live on.
	"start background": true,
}

// outside is what a hostile builder looks for.
type outside struct {
	process *exec.Cmd
	port    string
	segment int // shared memory, or -1
	mark    string
}

// newOutside makes it: a process, a port of the loopback interface, shared memory that everybody may read, a key.
func newOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{process: exec.Command(busybox, "sleep", "60"), mark: newMark()}
	must(t, o.process.Start())
	t.Cleanup(func() { _ = o.process.Process.Kill(); _ = o.process.Wait() })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	_, o.port, err = net.SplitHostPort(listener.Addr().String())
	must(t, err)
	if o.segment, err = unix.SysvShmGet(unix.IPC_PRIVATE, 4096, unix.IPC_CREAT|0o666); err != nil {
		o.segment = -1
	} else {
		t.Cleanup(func() { _, _ = unix.SysvShmCtl(o.segment, unix.IPC_RMID, nil) })
	}
	key, err := unix.AddKey("user", "larder-test", []byte("secret"), unix.KEY_SPEC_SESSION_KEYRING)
	if err == nil {
		t.Cleanup(func() { _, _ = unix.KeyctlInt(unix.KEYCTL_REVOKE, key, 0, 0, 0) })
	}
	return o
}

// try runs all probes, and reports those that succeeded.
func (o *outside) try(t *testing.T, s *sandbox.Spec, calls string) {
	t.Helper()
	dep := filepath.Join(t.TempDir(), "dep")
	must(t, os.Mkdir(dep, 0o755))
	// What the mode lets everybody do, the sandbox must not.
	must(t, os.WriteFile(filepath.Join(dep, "file"), []byte("input\n"), 0o666))
	must(t, os.Chmod(filepath.Join(dep, "file"), 0o666))
	before := contents(t, dep, "")
	s.Mounts = append(s.Mounts, sandbox.Mount{Source: dep, Target: "/nix/store/dep"})
	said := runProgram(t, s, calls, "escapes", fmt.Sprint(o.process.Process.Pid), o.port, fmt.Sprint(o.segment), o.mark)
	for call, outcome := range said {
		t.Log(call, outcome)
		if outcome == "ok" && !harmless[call] {
			t.Errorf("%s: allowed", call)
		}
	}
	// One of each kind, so that the program has come to its end.
	for _, call := range []string{
		"kill", "ptrace seize", "connect 127.", "search user's key", "mount", "bind store alone", "setuid 0", "mknod block", "clock_settime", "iopl",
		"link input", "map input", "open /sys/kernel", "open /proc/sysrq-trigger", "nested mount", "nested umount input", "nested open /dev/kmsg",
		"nested control group", "nested chmod setuid", "nested open shadow", "start background",
	} {
		if said[call] == "" {
			t.Errorf("%s was not tried: %v", call, said)
		}
	}
	// Process ids of the host mean nothing here.
	expect(t, said, "kill", "ESRCH")
	expect(t, said, "ptrace attach", "ESRCH")
	if o.segment >= 0 {
		expect(t, said, "shmat", "EINVAL")
	}
	if after := contents(t, dep, ""); after != before {
		t.Errorf("the input was:\n%s\nand is:\n%s", before, after)
	}
	if err := o.process.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the host's process is gone: %v", err)
	}
	if n := sleepers(t, o.mark); n != 0 {
		t.Errorf("%d processes were left in the background", n)
	}
}

func TestEscapes(t *testing.T) {
	calls := program(t, runtime.GOARCH)
	everyIdentity(t, func(t *testing.T) { newOutside(t).try(t, newSpec(t, ""), calls) })
}

// TestHostRoot: without build users root's builds may have root's user id, and still no power.
func TestHostRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	calls := program(t, runtime.GOARCH)
	s := newSpec(t, "")
	s.HostUID, s.HostGID = sandbox.CallingUser, sandbox.CallingUser
	must(t, os.Chown(s.BuildDir, 0, 0))
	newOutside(t).try(t, s, calls)
	// Its own devices it uses, and the machine's it leaves as they are. The modes are those that they have.
	s = newSpec(t, `for d in null zero full random urandom tty; do chmod $(stat -c %a /dev/$d) /dev/$d 2>/dev/null && echo has changed $d; done
		echo x >/dev/null && echo writes`)
	s.HostUID, s.HostGID = sandbox.CallingUser, sandbox.CallingUser
	must(t, os.Chown(s.BuildDir, 0, 0))
	if got := run(t, s); got != "writes\n" {
		t.Error(got)
	}
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
