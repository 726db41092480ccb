package linux_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"larder/sandbox"
	"larder/sandbox/linux"
)

func TestExit(t *testing.T) {
	r := newRunner(t)
	for _, c := range []struct {
		name, script string
		exit         int
		signal       syscall.Signal
		log          string
	}{
		{"status", "echo said; exit 7", 7, 0, "said\n"},
		{"signal of a child", "sh -c 'kill -9 $$'; exit 3", 3, 0, ""},
		{"process 1 cannot kill itself", "kill -9 $$; echo survived", 0, 0, "survived\n"},
		{"background", "sleep 1000 & setsid sleep 1000 >/dev/null 2>&1 & echo done", 0, 0, "done\n"},
		{"closes its log", "echo before; exec >/dev/null 2>&1; sleep 1000", -1, syscall.SIGKILL, "before\n"},
		{"closes its log but a child does not", "sh -c 'sleep 0.2; echo late' & exec >/dev/null 2>&1; wait; exit 5", 5, 0, "late\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			result, err := r.Run(deadline(t), newSpec(t, c.script), &log)
			if err != nil {
				t.Fatal(err)
			}
			// A builder that has closed its log may be killed before it exits.
			if c.exit == 5 && result.Signal == syscall.SIGKILL && log.String() == c.log {
				return
			}
			if result.ExitCode != c.exit || result.Signal != c.signal || !strings.HasPrefix(log.String(), c.log) {
				t.Fatalf("got %s, log %q; want exit %d, signal %d, log %q", result, &log, c.exit, c.signal, c.log)
			}
			if result.Stop.Before(result.Start) || time.Since(result.Start) > time.Minute {
				t.Fatalf("from %s to %s", result.Start, result.Stop)
			}
		})
	}
}

// TestTerminalOutside: a process outside that got the terminal of a build keeps the build neither from ending nor from being
// told what the log was.
func TestTerminalOutside(t *testing.T) {
	var held []*os.File
	t.Cleanup(func() {
		for _, f := range held {
			f.Close()
		}
	})
	var log bytes.Buffer
	first := true
	result, err := newRunner(t).Run(deadline(t), newSpec(t, "echo first; sleep 0.3; echo last"), writerFunc(func(p []byte) (int, error) {
		if first {
			first = false
			held = openSlaves(t)
		}
		return log.Write(p)
	}))
	if err != nil || !result.Success() || log.String() != "first\nlast\n" || len(held) == 0 {
		t.Errorf("%v, %v, log %q with %d terminals held", result, err, &log, len(held))
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// openSlaves opens the other sides of all pseudo-terminals of this process.
func openSlaves(t *testing.T) (slaves []*os.File) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if errno == 0 {
			slaves = append(slaves, os.NewFile(r, "slave"))
		}
	}
	return slaves
}

// TestCPU: the use of children counts.
func TestCPU(t *testing.T) {
	r := newRunner(t)
	result, err := r.Run(deadline(t), newSpec(t, `(i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done) & wait`), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if cpu := result.CPUUser + result.CPUSystem; cpu < 10*time.Millisecond || cpu > time.Minute {
		t.Fatalf("got %s", cpu)
	}
}

// marked starts sleepers that can be told from all others, in every way to get away, and says when they are there.
func marked(mark string) string {
	return fmt.Sprintf(`
		sleep 1%[1]s & setsid sleep 2%[1]s </dev/null >/dev/null 2>&1 & (setsid sh -c 'sleep 3%[1]s & sleep 4%[1]s' >/dev/null 2>&1 &)
		trap '' HUP INT TERM; while [ $(ps -o args | grep -c "^sleep [1-4]%[1]s") -lt 4 ]; do :; done; echo ready; sleep 5%[1]s`, mark)
}

// sleepers counts marked processes.
func sleepers(t *testing.T, mark string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	must(t, err)
	n := 0
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		text, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		args := strings.Split(string(text), "\x00")
		if len(args) > 1 && args[0] == "sleep" && strings.HasSuffix(args[1], mark) {
			n++
		}
	}
	return n
}

func newMark() string { return fmt.Sprintf("%07d", (os.Getpid()*7919+os.Geteuid())%10_000_000) }

// signalWriter tells when the log says "ready".
type signalWriter struct {
	once  sync.Once
	ready chan struct{}
}

func newSignalWriter() *signalWriter { return &signalWriter{ready: make(chan struct{})} }

func (w *signalWriter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("ready")) {
		w.once.Do(func() { close(w.ready) })
	}
	return len(p), nil
}

// await waits for that, or for the end of the build.
func (w *signalWriter) await(t *testing.T, done <-chan error) {
	t.Helper()
	select {
	case <-w.ready:
	case err := <-done:
		t.Fatalf("ended early: %v", err)
	}
}

var errStop = errors.New("the user has had enough")

func TestCancel(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		r, mark := newRunner(t), newMark()
		ctx, cancel := context.WithCancelCause(deadline(t))
		log := newSignalWriter()
		done := make(chan error, 1)
		go func() {
			_, err := r.Run(ctx, newSpec(t, marked(mark)), log)
			done <- err
		}()
		log.await(t, done)
		if n := sleepers(t, mark); n < 4 {
			t.Fatalf("%d processes run, not all", n)
		}
		start := time.Now()
		cancel(errStop)
		if err := <-done; !errors.Is(err, errStop) {
			t.Fatalf("got %v", err)
		}
		if n := sleepers(t, mark); n != 0 {
			t.Errorf("%d processes survived", n)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("took %s", d)
		}
	})
}

// TestCancelEarly cancels at every moment of a launch.
func TestCancelEarly(t *testing.T) {
	r := newRunner(t)
	s := newSpec(t, "echo run; sleep 1000")
	for i := range 40 {
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Duration(i)*250*time.Microsecond, errStop)
		_, err := r.Run(ctx, s, io.Discard)
		cancel()
		if !errors.Is(err, errStop) {
			t.Fatalf("after %d steps: %v", i, err)
		}
	}
	run(t, newSpec(t, "echo still works"))
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errStop }

func TestLogError(t *testing.T) {
	_, err := newRunner(t).Run(deadline(t), newSpec(t, "while :; do echo too much; done"), brokenWriter{})
	if !errors.Is(err, errStop) {
		t.Fatalf("got %v", err)
	}
}

func TestSetupErrors(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		r := newRunner(t)
		try := func(change func(*sandbox.Spec)) error {
			s := newSpec(t, "echo must not run")
			change(s)
			var log bytes.Buffer
			result, err := r.Run(deadline(t), s, &log)
			if result != nil || log.Len() > 0 {
				t.Errorf("got %v, log %q", result, &log)
			}
			if left, err := os.ReadDir(s.BuildStore); err == nil && len(left) > 0 {
				t.Errorf("left in the build store: %v", left)
			}
			return err
		}
		dir := t.TempDir()
		must(t, os.Chmod(dir, 0o755))
		plain := filepath.Join(dir, "plain")
		must(t, os.WriteFile(plain, []byte("no program"), 0o644))
		garbage := filepath.Join(dir, "garbage")
		must(t, os.WriteFile(garbage, []byte("\x00\x01no program"), 0o755))
		must(t, os.Chmod(garbage, 0o755))

		err := try(func(s *sandbox.Spec) { s.Builder = "relative" })
		wantSetupError(t, err, sandbox.StageSpec, "", nil)
		err = try(func(s *sandbox.Spec) { s.Builder = "/bin/absent" })
		wantSetupError(t, err, sandbox.StageExec, "/bin/absent", os.ErrNotExist)
		for path, cause := range map[string]error{plain: unix.EACCES, garbage: unix.ENOEXEC} {
			err = try(func(s *sandbox.Spec) {
				s.Builder = "/bin/x"
				s.Mounts = append(s.Mounts, sandbox.Mount{Source: path, Target: "/bin/x"})
			})
			wantSetupError(t, err, sandbox.StageExec, "/bin/x", cause)
		}
		err = try(func(s *sandbox.Spec) {
			s.Mounts = append(s.Mounts, sandbox.Mount{Source: dir, Target: "/nix/store/there"},
				sandbox.Mount{Source: "/absent/input", Target: "/nix/store/input"})
		})
		wantSetupError(t, err, sandbox.StageInput, "/absent/input", os.ErrNotExist)
		// Optional forgives absence and nothing else.
		err = try(func(s *sandbox.Spec) {
			s.Mounts = append(s.Mounts, sandbox.Mount{Source: plain + "/below", Target: "/x", Optional: true})
		})
		wantSetupError(t, err, sandbox.StageInput, plain+"/below", unix.ENOTDIR)
		err = try(func(s *sandbox.Spec) { s.Dir = "/absent" })
		wantSetupError(t, err, sandbox.StageExec, "/absent", os.ErrNotExist)
		absent := filepath.Join(dir, "absent")
		err = try(func(s *sandbox.Spec) { s.BuildDir = absent })
		wantSetupError(t, err, sandbox.StageInput, absent, os.ErrNotExist)
		err = try(func(s *sandbox.Spec) { s.BuildStore = absent })
		wantSetupError(t, err, sandbox.StageInput, absent, os.ErrNotExist)
		err = try(func(s *sandbox.Spec) { s.DevShmSize = "a lot" })
		wantSetupError(t, err, sandbox.StageRoot, "/dev/shm", unix.EINVAL)
		if os.Geteuid() != 0 {
			var setup *sandbox.SetupError
			err = try(func(s *sandbox.Spec) { s.HostUID = 0 })
			if !errors.As(err, &setup) {
				t.Errorf("another user's id: %v", err)
			}
		}
	})
}

// TestDaemonKilled: nothing survives a daemon that had no time to clean up.
func TestDaemonKilled(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		newRunner(t) // skips where builds cannot run at all
		mark := newMark()
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "LARDER_TEST_HELPER=daemon", "LARDER_TEST_MARK="+mark, "LARDER_TEST_DIR="+t.TempDir())
		out, err := cmd.StdoutPipe()
		must(t, err)
		cmd.Stderr = os.Stderr
		must(t, cmd.Start())
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		// The helper hands on the build's log.
		if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
			t.Fatal(err)
		}
		if n := sleepers(t, mark); n < 4 {
			t.Fatalf("%d processes run, not all", n)
		}
		must(t, cmd.Process.Kill())
		waitFor(t, func() bool { return sleepers(t, mark) == 0 })
	})
}

// daemonHelper runs a build until it is killed.
func daemonHelper() {
	r, err := linux.New(linux.Options{})
	if err != nil {
		panic(err)
	}
	build, store := os.Getenv("LARDER_TEST_DIR")+"/build", os.Getenv("LARDER_TEST_DIR")+"/store"
	for _, dir := range []string{build, store} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			panic(err)
		}
	}
	s := &sandbox.Spec{
		Builder: "/bin/sh", Args: []string{"sh", "-c", marked(os.Getenv("LARDER_TEST_MARK"))}, Env: []string{"PATH=/bin"},
		StoreDir: "/nix/store", BuildStore: store, BuildDir: build,
		Mounts: []sandbox.Mount{{Source: busybox, Target: "/bin/sh"}},
		UID:    1000, GID: 100, HostUID: sandbox.CallingUser, HostGID: sandbox.CallingUser,
	}
	result, err := r.Run(context.Background(), s, os.Stdout)
	fmt.Fprintln(os.Stderr, "the build ended:", result, err)
	os.Exit(1)
}

// TestLauncherKilled: builds under way fail, the next ones work.
func TestLauncherKilled(t *testing.T) {
	r, mark := newRunner(t), newMark()
	log := newSignalWriter()
	done := make(chan error, 1)
	go func() {
		_, err := r.Run(deadline(t), newSpec(t, marked(mark)), log)
		done <- err
	}()
	log.await(t, done)
	must(t, unix.Kill(childNamed(t, "larder-launcher"), unix.SIGKILL))
	wantSetupError(t, <-done, sandbox.StageLaunch, "", nil)
	waitFor(t, func() bool { return sleepers(t, mark) == 0 })
	if result, err := r.Run(deadline(t), newSpec(t, "true"), io.Discard); err != nil || !result.Success() {
		t.Fatalf("the next build: %v, %v", result, err)
	}
}

// childNamed finds this process's newest child with that name.
func childNamed(t *testing.T, name string) int {
	t.Helper()
	found := offspringNamed(t, "self", name)
	if found == 0 {
		t.Fatalf("no child %s", name)
	}
	return found
}

// offspringNamed finds the newest child of a process with that name, or gives 0.
func offspringNamed(t *testing.T, parent, name string) (found int) {
	t.Helper()
	paths, err := filepath.Glob("/proc/" + parent + "/task/*/children")
	must(t, err)
	for _, path := range paths {
		text, _ := os.ReadFile(path)
		for _, field := range strings.Fields(string(text)) {
			cmdline, _ := os.ReadFile("/proc/" + field + "/cmdline")
			if pid, _ := strconv.Atoi(field); strings.TrimRight(string(cmdline), "\x00") == name && pid > found {
				found = pid
			}
		}
	}
	return found
}

func TestClose(t *testing.T) {
	r, mark := newRunner(t), newMark()
	log := newSignalWriter()
	done := make(chan error, 1)
	go func() {
		_, err := r.Run(deadline(t), newSpec(t, marked(mark)), log)
		done <- err
	}()
	log.await(t, done)
	must(t, r.Close())
	if err := <-done; err == nil {
		t.Error("the build under way ended well")
	}
	if n := sleepers(t, mark); n != 0 {
		t.Errorf("%d processes survived", n)
	}
	if _, err := r.Run(deadline(t), newSpec(t, "true"), io.Discard); !errors.Is(err, linux.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestMany: fifty at once, one identity each, nothing leaks.
func TestMany(t *testing.T) {
	r := newRunner(t)
	run := func(n int) {
		var wg sync.WaitGroup
		for i := range n {
			s := newSpec(t, fmt.Sprintf("echo %d > /nix/store/out; cat /nix/store/out; ls /nix/store", i))
			wg.Go(func() {
				var log bytes.Buffer
				result, err := r.Run(deadline(t), s, &log)
				if want := fmt.Sprintf("%d\nout\n", i); err != nil || !result.Success() || log.String() != want {
					t.Errorf("build %d: %v, %v, log %q", i, result, err, &log)
				}
			})
		}
		wg.Wait()
	}
	run(2)
	before := countOpen(t)
	mounts := countLines(t, "/proc/self/mountinfo")
	run(50)
	// The launcher makes a spare as long as it lives; what the builds had is gone.
	waitFor(t, func() bool { return countOpen(t) <= before })
	if after := countLines(t, "/proc/self/mountinfo"); after != mounts {
		t.Errorf("%d mounts, before %d", after, mounts)
	}
	launcher := childNamed(t, "larder-launcher")
	waitFor(t, func() bool {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", launcher))
		return err == nil && len(fds) < 20
	})
	waitFor(t, func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", launcher, launcher))
		return err == nil && len(strings.Fields(string(text))) <= 1
	})
}

func countOpen(t *testing.T) int {
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(fds)
}

func countLines(t *testing.T, path string) int {
	text, err := os.ReadFile(path)
	must(t, err)
	return bytes.Count(text, []byte("\n"))
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to that in 20 s")
		}
	}
}
