package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"larder/test/ids"
)

// Site is a scratch directory with a store of its own.
type Site struct {
	Top     string // everything is in here
	Dir     string // the store directory, where it is mounted
	State   string
	Objects string // where the objects lie; Dir if they lie underneath the mount
	UID     int    // who runs the programs

	Mounter *Process // the larder mount that runs, or ran last
	Daemon  int      // process id of its daemon

	t      testing.TB
	gates  string
	config string // "": the user's own
	socket string // of the daemon
	env    []string
	ids    ids.Range
}

var (
	serial  atomic.Int32 // of sites and files
	sources sync.Once
)

// NewSite makes a site, as yet without a configuration: see Configure.
func NewSite(t testing.TB) *Site {
	t.Helper()
	sources.Do(noteSources)
	s := &Site{t: t, ids: ids.New(t), UID: os.Geteuid(), Top: filepath.Join(base, fmt.Sprint(serial.Add(1)))}
	s.Dir, s.State, s.gates = filepath.Join(s.Top, "store"), filepath.Join(s.Top, "state"), filepath.Join(s.Top, "gates")
	s.Objects, s.config = s.Dir, filepath.Join(s.Top, "larder.conf")
	s.env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "LARDER_") || strings.HasPrefix(v, "XDG_") || strings.HasPrefix(v, "HOME=")
	}), "HOME="+s.Top, "TERM=dumb")
	for _, d := range []string{s.Top, s.gates} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.clear)
	return s
}

// In is the same site for a subtest.
func (s *Site) In(t testing.TB) *Site {
	sub := *s
	sub.t = t
	return &sub
}

// noteSources looks at all source directories, so that "go test" knows that a result is stale when one has changed: the
// program under test is not part of the test.
func noteSources() {
	root, err := moduleRoot()
	if err != nil {
		return // then there are no cached results either
	}
	filepath.WalkDir(root, func(name string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() && strings.HasPrefix(e.Name(), ".") && name != root {
			return filepath.SkipDir
		}
		return nil
	})
}

// Configure writes the site's larder.conf: what every test wants, the caches, and further lines.
func (s *Site) Configure(caches []*Cache, lines ...string) {
	s.t.Helper()
	text := fmt.Sprintf("state-dir = %s\nobject-dir = %s\n", s.State, s.Objects) + s.settings(caches, lines)
	if err := os.WriteFile(s.config, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.socket = filepath.Join(s.State, "control.sock")
}

// ConfigureHome is Configure for a plain user who has a home directory, a larder.conf in it, and leaves to larder where its
// files are.
func (s *Site) ConfigureHome(caches []*Cache, lines ...string) {
	s.t.Helper()
	file := filepath.Join(s.Top, ".config", "larder", "larder.conf")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(s.settings(caches, lines)), 0o644); err != nil {
		s.t.Fatal(err)
	}
	run := filepath.Join(s.Top, "run")
	if err := errors.Join(os.Mkdir(run, 0o700), os.Chown(run, s.UID, -1)); err != nil {
		s.t.Fatal(err)
	}
	s.env = append(s.env, "XDG_RUNTIME_DIR="+run)
	s.config, s.socket = "", filepath.Join(run, "larder", "control.sock")
	s.State = filepath.Join(s.Top, ".local", "share", "larder")
}

// settings are the lines of larder.conf that every site has, and further ones.
func (s *Site) settings(caches []*Cache, lines []string) string {
	s.t.Helper()
	var urls, keys []string
	for _, c := range caches {
		urls, keys = append(urls, c.URL), append(keys, c.Key.Public().String())
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		s.t.Skip("no busybox (package busybox-static) for builders")
	}
	return fmt.Sprintf(`store-dir = %s
substituters = %s
trusted-public-keys = %s
max-jobs = 8
download-attempts = 1
narinfo-cache-negative-ttl = 0
sandbox-paths = /bin/sh=%[4]s /bin/mkdir=%[4]s /bin/chmod=%[4]s /gate=%[5]s
%[6]s%[7]s
`, s.Dir, strings.Join(urls, " "), strings.Join(keys, " "), busybox, s.gates, s.ids.Lines(), strings.Join(lines, "\n"))
}

// Program is the path of one of the programs that Main has built: larder, toucher, stormy.
func Program(name string) string { return filepath.Join(base, "bin", name) }

// larder is a command line of larder with the site's configuration.
func (s *Site) larder(args ...string) []string {
	all := []string{Program("larder")}
	if s.config != "" {
		all = append(all, "--config", s.config)
	}
	return append(all, args...)
}

// StartLarder starts a larder command.
func (s *Site) StartLarder(args ...string) *Process {
	s.t.Helper()
	return s.Start(s.larder(args...)...)
}

// Larder runs a larder command to its end.
func (s *Site) Larder(args ...string) Result {
	s.t.Helper()
	return s.StartLarder(args...).Wait()
}

// Must runs a larder command that shall succeed, and returns what it prints.
func (s *Site) Must(args ...string) string {
	s.t.Helper()
	r := s.Larder(args...)
	if r.Status != 0 {
		s.t.Fatalf("larder %s: status %d\n%s\n%s", strings.Join(args, " "), r.Status, r.Out, r.Err)
	}
	return r.Out
}

// Touch starts a process that does one thing with a path and prints "ok" and what it saw, or the name of the errno; see
// fusefs/testdata/toucher.
func (s *Site) Touch(op string, args ...string) *Process {
	s.t.Helper()
	return s.Start(append([]string{Program("toucher"), op}, args...)...)
}

// Read is what is in a file of the mount.
func (s *Site) Read(path string) string {
	s.t.Helper()
	return s.Touch("read", path).Wait().Out
}

// List is what ls shows of the mount: base names, sorted.
func (s *Site) List() []string {
	s.t.Helper()
	r := s.Start("ls", "-A", s.Dir).Wait()
	if r.Status != 0 {
		s.t.Fatalf("ls %s: %s", s.Dir, r.Err)
	}
	return strings.Fields(r.Out)
}

// Mount mounts the store and waits until it can be used.
func (s *Site) Mount() {
	s.t.Helper()
	needFUSE(s.t)
	s.Mounter = s.StartLarder("-v", "mount", s.Dir)
	Eventually(s.t, "the store is mounted", func() bool {
		return strings.Contains(s.Mounter.Stderr(), "mounted at ") || !s.Mounter.Running()
	})
	if !s.Mounter.Running() {
		s.t.Fatalf("larder mount ended: %s", s.Mounter.Wait().Err)
	}
	if s.Daemon = s.Status().PID; s.Daemon == 0 {
		s.t.Fatal("the mount has no daemon")
	}
}

func needFUSE(t testing.TB) {
	t.Helper()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skipf("no FUSE: %v", err)
	} else {
		f.Close()
	}
}

// Unmount ends the mount and checks that nothing of it is left.
func (s *Site) Unmount() {
	s.t.Helper()
	s.Must("unmount", s.Dir)
	if r := s.Mounter.Wait(); r.Status != 0 {
		s.t.Errorf("larder mount ended with status %d: %s", r.Status, r.Err)
	}
	s.CheckGone()
}

// KillDaemon kills the daemon with SIGKILL and waits until it is dead.
func (s *Site) KillDaemon() {
	s.t.Helper()
	Kill(s.t, s.Daemon)
}

// CheckGone checks that there is neither a mount nor a daemon.
func (s *Site) CheckGone() {
	s.t.Helper()
	if s.Mounted() {
		s.t.Error("the store is still mounted")
	}
	if Alive(s.Daemon) {
		s.t.Errorf("daemon %d still lives", s.Daemon)
	}
}

// CheckObjects checks that the plain directory of objects holds exactly the given paths.
func (s *Site) CheckObjects(paths ...string) {
	s.t.Helper()
	entries, err := os.ReadDir(s.Objects)
	if err != nil {
		s.t.Fatal(err)
	}
	var got, want []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	for _, p := range paths {
		want = append(want, filepath.Base(p))
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.t.Errorf("%s holds %q, want %q", s.Objects, got, want)
	}
}

// CheckValid checks that the mount shows exactly the given paths.
func (s *Site) CheckValid(paths ...string) {
	s.t.Helper()
	var want []string
	for _, p := range paths {
		want = append(want, filepath.Base(p))
	}
	slices.Sort(want)
	if got := s.List(); !slices.Equal(got, want) {
		s.t.Errorf("ls shows %q, want %q", got, want)
	}
}

// Mounted reports whether something is mounted at the store directory.
func (s *Site) Mounted() bool {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Contains(string(text), " "+s.Dir+" ")
}

// clear ends what a test has left: the daemon, which ends all waiting in its mount, then the mount.
func (s *Site) clear() {
	if s.Mounter != nil && s.Mounter.Running() {
		s.Mounter.Signal(syscall.SIGTERM)
		if s.Daemon > 0 && s.t.Failed() {
			unix.Kill(s.Daemon, unix.SIGKILL)
		}
		<-s.Mounter.ended
	}
	if os.Geteuid() == 0 {
		for unix.Unmount(s.Dir, unix.MNT_FORCE|unix.UMOUNT_NOFOLLOW) == nil {
		}
		for unix.Unmount(s.Dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) == nil {
		}
	} else if s.Mounted() {
		exec.Command("fusermount3", "-uz", s.Dir).Run()
	}
	if err := removeTree(s.Top); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Errorf("removing what the test made: %v", err)
	}
}
