package mount_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"larder/fusefs/mount"
)

const (
	patience = 15 * time.Second
	here     = "00000000000000000000000000000001-here"
	absent   = "00000000000000000000000000000002-absent"
	testUser = 64123 // nobody has it
)

// site is a store directory with a process outside that mounts it.
type site struct {
	t          testing.TB
	dir, gates string
	user       int
	outside    *process
	daemon     int
}

func newSite(t testing.TB, user int) *site {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, also to become a plain user")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("no FUSE: %v", err)
	}
	if user != 0 {
		if _, err := exec.LookPath("fusermount3"); err != nil {
			t.Skip("no fusermount3 (package fuse3)")
		}
		if st, err := os.Stat("/dev/fuse"); err != nil || st.Mode().Perm()&0o006 != 0o006 {
			t.Skip("/dev/fuse is not open to plain users")
		}
		if b, _ := os.ReadFile("/etc/passwd"); !bytes.Contains(b, []byte("larder-test:")) {
			t.Skip("cannot make a user")
		}
	}
	top := t.TempDir()
	s := &site{t: t, dir: filepath.Join(top, "store"), gates: filepath.Join(top, "gates"), user: user}
	for _, d := range []string{s.dir, s.gates} {
		if err := errors.Join(os.Mkdir(d, 0o755), os.Chown(d, user, user)); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(filepath.Dir(top), 0o755)
	if err := os.WriteFile(filepath.Join(s.dir, here), []byte("inside"), 0o444); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Unmount(s.dir, unix.MNT_FORCE)
		unix.Unmount(s.dir, unix.MNT_DETACH)
	})
	return s
}

// mount starts the process outside and waits until the mount can be used.
func (s *site) mount() {
	s.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), outsideEnv+"="+s.dir, gatesEnv+"="+s.gates)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.user), Gid: uint32(s.user)}}
	s.outside = start(s.t, cmd)
	eventually(s.t, "the mount is ready", func() bool {
		return strings.Contains(s.outside.out.String(), "ready\n") || !s.outside.running()
	})
	if !s.outside.running() {
		s.t.Fatalf("it ended: %s", s.outside.out)
	}
	if _, err := fmt.Sscanf(s.outside.out.String(), "daemon %d", &s.daemon); err != nil {
		s.t.Fatal(err)
	}
}

// as runs a program as the user of the site: others may not look in.
func (s *site) as(args ...string) *process {
	s.t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.user), Gid: uint32(s.user)}}
	return start(s.t, cmd)
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// await waits until somebody waits for the absent object.
func (s *site) await() {
	s.t.Helper()
	eventually(s.t, "somebody waits", func() bool {
		_, err := os.Stat(filepath.Join(s.gates, absent+".waiting"))
		return err == nil
	})
}

func (s *site) isMounted(pid string) bool {
	s.t.Helper()
	text, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		s.t.Fatal(err)
	}
	return bytes.Contains(text, []byte(" "+s.dir+" "))
}

// ended checks how the process outside ended, and that nothing is left.
func (s *site) ended(want string) {
	s.t.Helper()
	out := s.outside.wait()
	if !strings.HasSuffix(out, want) {
		s.t.Errorf("it said %q, want %q at the end", out, want)
	}
	if s.isMounted("self") {
		s.t.Error("it is still mounted")
	}
	if err := unix.Kill(s.daemon, 0); err == nil {
		s.t.Errorf("daemon %d still lives", s.daemon)
	}
	if b, err := os.ReadFile(s.path(here)); string(b) != "inside" {
		s.t.Errorf("the plain directory does not show what is there: %v", err)
	}
}

// forUsers runs a test as root and as a plain user.
func forUsers(t *testing.T, f func(t *testing.T, s *site)) {
	for name, user := range map[string]int{"root": 0, "plain user": testUser} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, user)
			s.mount()
			f(t, s)
		})
	}
}

// What is here can be read, what is not comes; the daemon does not see the
// mount; a signal ends all, and the plain directory is left.
func TestRun(t *testing.T) {
	forUsers(t, func(t *testing.T, s *site) {
		if !s.isMounted("self") {
			t.Error("it is not mounted here")
		}
		if s.isMounted(fmt.Sprint(s.daemon)) {
			t.Error("the daemon sees its own mount")
		}
		if got := s.as("cat", s.path(here)).wait(); got != "inside" {
			t.Errorf("what is here: got %q", got)
		}
		reader := s.as("cat", s.path(absent))
		s.await()
		who, err := os.ReadFile(filepath.Join(s.gates, absent+".waiting"))
		if err != nil || string(who) != fmt.Sprint(reader.cmd.Process.Pid) {
			t.Errorf("the caller is %s, want %d (%v)", who, reader.cmd.Process.Pid, err)
		}
		os.WriteFile(filepath.Join(s.gates, absent), nil, 0o644)
		if got := reader.wait(); got != "came" {
			t.Errorf("what was absent: got %q", got)
		}
		if got := s.as("stat", "-c", "%u %F", s.path(here)).wait(); got != fmt.Sprint(s.user, " regular file") {
			t.Errorf("owner: %q", got)
		}
		s.outside.signal(syscall.SIGTERM)
		s.ended("ended")
		if b, _ := os.ReadFile(s.path(absent)); string(b) != "came" {
			t.Error("the plain directory does not have what came")
		}
	})
}

// A program in a single file that is absent can be executed. Nobody tells an
// unprivileged daemon that this is what the caller does; it guesses.
func TestExecOfAbsentFile(t *testing.T) {
	forUsers(t, func(t *testing.T, s *site) {
		p := s.as("/bin/sh", "-c", s.path(absent)+"; echo $?")
		s.await()
		os.WriteFile(filepath.Join(s.gates, absent), nil, 0o644)
		// It is no program, which the kernel can say only when it has come.
		if got := p.wait(); !strings.HasSuffix(got, "126") {
			t.Errorf("got %q", got)
		}
	})
}

// When the daemon is killed those who wait get an error, and nothing is left.
func TestDaemonKilled(t *testing.T) {
	forUsers(t, func(t *testing.T, s *site) {
		reader := s.as("cat", s.path(absent))
		s.await()
		unix.Kill(s.daemon, unix.SIGKILL)
		if got := reader.wait(); !strings.Contains(got, "cat:") {
			t.Errorf("the one who waits got %q", got)
		}
		s.ended("died")
	})
}

// When the process outside is killed the daemon stops; the dead mount that
// remains is replaced by the next one.
func TestOutsideKilled(t *testing.T) {
	forUsers(t, func(t *testing.T, s *site) {
		reader := s.as("cat", s.path(absent))
		s.await()
		s.outside.signal(syscall.SIGKILL)
		if got := reader.wait(); !strings.Contains(got, "cat:") {
			t.Errorf("the one who waits got %q", got)
		}
		eventually(t, "the daemon ends", func() bool { return unix.Kill(s.daemon, 0) != nil })
		if got := s.as("cat", s.path(here)).wait(); !strings.Contains(got, "not connected") {
			t.Errorf("a dead mount: got %q", got)
		}
		os.Remove(filepath.Join(s.gates, absent+".waiting"))
		s.mount()
		if got := s.as("cat", s.path(here)).wait(); got != "inside" {
			t.Errorf("the next mount: got %q", got)
		}
		s.outside.signal(syscall.SIGINT)
		s.ended("ended")
	})
}

// A signal ends all in bounded time, although somebody waits and somebody has his
// current directory there.
func TestStopWhileInUse(t *testing.T) {
	forUsers(t, func(t *testing.T, s *site) {
		reader := s.as("cat", s.path(absent))
		sitter := s.as("/bin/sh", "-c", "cd "+s.dir+" && echo there && exec sleep 100")
		s.await()
		eventually(t, "it sits there", func() bool { return sitter.out.String() == "there\n" })
		s.outside.signal(syscall.SIGTERM)
		s.ended("ended")
		if got := reader.wait(); !strings.Contains(got, "cat:") {
			t.Errorf("the one who waits got %q", got)
		}
	})
}

// Unmounting from elsewhere ends the daemon, whether the mount is in use or not.
func TestUnmount(t *testing.T) {
	for _, use := range []bool{false, true} {
		t.Run(fmt.Sprint("in use: ", use), func(t *testing.T) {
			s := newSite(t, 0)
			s.mount()
			var reader *process
			if use {
				reader = s.as("cat", s.path(absent))
				s.await()
			}
			detached, err := mount.Unmount(t.Context(), s.dir, 100*time.Millisecond)
			if err != nil || detached != use {
				t.Errorf("unmount: detached %v, %v", detached, err)
			}
			s.ended("ended")
			if use && !strings.Contains(reader.wait(), "cat:") {
				t.Errorf("the one who waits got %q", reader.wait())
			}
		})
	}
	if _, err := mount.Unmount(context.Background(), t.TempDir(), 0); !errors.Is(err, mount.ErrNotMounted) {
		t.Errorf("what is not mounted: %v", err)
	}
}

func TestRunRefuses(t *testing.T) {
	s := newSite(t, 0)
	s.mount()
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o644)
	for dir, want := range map[string]string{
		s.dir:            "mounted at " + s.dir + " already",
		file:             "not a directory",
		file + "-absent": "no such file",
	} {
		err := mount.Run(t.Context(), mount.Options{Dir: dir})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", dir, err, want)
		}
	}
}

// process is one that may hang in the mount. It is killed at the end of the test.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	out   *output
	ended chan struct{}
}

// output may be read while the process writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, out: &output{}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.out, p.out
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		select {
		case <-p.ended:
		case <-time.After(2 * time.Second):
			t.Errorf("process %d (%v) cannot be killed", cmd.Process.Pid, cmd.Args)
		}
	})
	return p
}

func (p *process) signal(s syscall.Signal) { p.cmd.Process.Signal(s) }

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *process) wait() string {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%v still runs after %v; it said %q", p.cmd.Args, patience, p.out)
	}
	return strings.TrimSpace(p.out.String())
}

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v still not: %s", patience, what)
		}
	}
}
