package linux_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// TestInterpreterByDescriptor: execve(2) looks for a script's interpreter while the child's own descriptors are open still. None of
// them may lead to the host, not even to run a program of it.
func TestInterpreterByDescriptor(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		r := newRunner(t)
		for fd := 3; fd < 40; fd++ {
			s := newSpec(t, "")
			for _, dir := range []string{filepath.Dir(s.BuildDir), filepath.Dir(filepath.Dir(s.BuildDir))} {
				must(t, os.Chmod(dir, 0o755))
			}
			host := filepath.Join(filepath.Dir(s.BuildDir), "sh")
			text, err := os.ReadFile(busybox)
			must(t, err)
			must(t, os.WriteFile(host, text, 0o755))
			script := filepath.Join(filepath.Dir(s.BuildDir), "script")
			must(t, os.WriteFile(script, fmt.Appendf(nil, "#!/proc/self/fd/%d/../sh\necho out\n", fd), 0o755))
			s.Mounts = append(s.Mounts, sandbox.Mount{Source: script, Target: "/nix/store/script"})
			s.Builder, s.Args = "/nix/store/script", []string{"script"}
			var log bytes.Buffer
			if result, err := r.Run(deadline(t), s, &log); err == nil {
				t.Errorf("descriptor %d leads out: %s, log %q", fd, result, &log)
			}
		}
	})
}

// TestBuiltinWithManyMounts: the descriptors of a builtin have numbers of their own, however many others are open.
func TestBuiltinWithManyMounts(t *testing.T) {
	r := newRunner(t)
	for n := 185; n < 200; n++ {
		s := builtinSpec(t, "nothing", "")
		for i := range n {
			s.Mounts = append(s.Mounts, sandbox.Mount{Source: busybox, Target: fmt.Sprintf("/opt/%d", i)})
		}
		var log bytes.Buffer
		if result, err := r.Run(deadline(t), s, &log); err != nil || !result.Success() {
			t.Fatalf("%d mounts: %v, %v, log:\n%s", n, result, err, &log)
		}
	}
}

// TestOpenFiles: builders may open as many files as this program might when it was started, and not what Go's runtime made of it.
func TestOpenFiles(t *testing.T) {
	const soft = "321"
	if os.Getenv("LARDER_TEST_OPEN_FILES") == "" {
		cmd := exec.CommandContext(deadline(t), busybox, "sh", "-c", fmt.Sprintf("ulimit -S -n %s && exec /proc/%d/exe -test.run=^TestOpenFiles$ -test.v", soft, os.Getpid()))
		cmd.Env = append(os.Environ(), "LARDER_TEST_OPEN_FILES=1", "TMPDIR="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestOpenFiles") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	if got, want := run(t, newSpec(t, "ulimit -S -n; ulimit -H -n")), lines(soft, fmt.Sprint(limit.Max)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
