package mount_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"larder/fusefs"
	"larder/fusefs/mount"
	"larder/store"
)

const (
	outsideEnv = "LARDER_MOUNT_TEST_OUTSIDE" // the mount point: this process is to run a mount
	privateEnv = "LARDER_MOUNT_TEST_PRIVATE" // the tests have a mount namespace of their own
	gatesEnv   = "LARDER_MOUNT_TEST_GATES"   // absent objects come when a file of their name is here
)

func TestMain(m *testing.M) {
	d, err := mount.Inherited()
	switch {
	case err != nil:
		fmt.Println(err)
		os.Exit(1)
	case d != nil:
		os.Exit(daemon(d))
	case os.Getenv(outsideEnv) != "":
		os.Exit(outside(os.Getenv(outsideEnv)))
	case os.Geteuid() == 0 && os.Getenv(privateEnv) == "":
		os.Exit(inPrivateNamespace())
	}
	makeUser()
	os.Exit(m.Run())
}

// inPrivateNamespace runs the tests in a mount namespace of their own: no mount can
// be left behind, and what is done to /dev/fuse stays there.
func inPrivateNamespace() int {
	runtime.LockOSThread() // Pdeathsig is about this thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), privateEnv+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// makeUser lets a plain user mount: a name for testUser, which fusermount3 wants, and
// a /dev/fuse that everybody may open, if the machine's is root's alone as in a bare
// container. Both are only in our mount namespace. Where it fails, tests skip.
func makeUser() {
	dir, err := os.MkdirTemp("", "larder-user")
	if err != nil {
		return
	}
	defer os.RemoveAll(dir)
	node, passwd := filepath.Join(dir, "fuse"), filepath.Join(dir, "passwd")
	if unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))) == nil && os.Chmod(node, 0o666) == nil {
		unix.Mount(node, "/dev/fuse", "", unix.MS_BIND, "")
	}
	users, _ := os.ReadFile("/etc/passwd")
	users = fmt.Appendf(users, "larder-test:x:%d:%d::/:/bin/sh\n", testUser, testUser)
	if os.WriteFile(passwd, users, 0o644) == nil {
		unix.Mount(passwd, "/etc/passwd", "", unix.MS_BIND, "")
	}
}

// outside is a program that mounts.
func outside(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := mount.Run(ctx, mount.Options{
		Dir:        dir,
		AllowOther: os.Geteuid() == 0,
		MaxRead:    fusefs.MaxRead,
		Ready:      func() { fmt.Println("ready") },
		Grace:      300 * time.Millisecond,
		StopGrace:  5 * time.Second,
	})
	var died *mount.DaemonError
	switch {
	case errors.As(err, &died):
		fmt.Println("died")
		return 3
	case err != nil:
		fmt.Println(err)
		return 1
	}
	fmt.Println("ended")
	return 0
}

// daemon is the same program on the other side of the mount.
func daemon(d *mount.Daemon) int {
	fmt.Println("daemon", os.Getpid())
	s := newPlainStore(d.Dir(), os.Getenv(gatesEnv))
	f, err := fusefs.New(fusefs.Options{Objects: s, Realiser: s, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	dev, err := d.Mount()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	err = f.Serve(d.Context(), dev, func() { d.Serving() })
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Println(err)
		return 1
	}
	return 0
}

// plainStore is a store directory: what lies there is present, and everything
// else comes when somebody opens its gate.
type plainStore struct {
	dir, gates string

	mu      sync.Mutex // guards what follows
	numbers map[store.StorePath]uint32
	paths   []store.StorePath
}

func newPlainStore(dir, gates string) *plainStore {
	return &plainStore{dir: dir, gates: gates, numbers: map[store.StorePath]uint32{}, paths: make([]store.StorePath, 1)}
}

func (s *plainStore) Dir() store.Dir       { return store.Dir(s.dir) }
func (s *plainStore) ObjectDir() string    { return s.dir }
func (s *plainStore) ReleaseNumber(uint32) {}

func (s *plainStore) Number(p store.StorePath) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.numbers[p]
	if !ok {
		n = uint32(len(s.paths))
		s.numbers[p] = n
		s.paths = append(s.paths, p)
	}
	return n, nil
}

func (s *plainStore) PathOf(n uint32) (store.StorePath, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n == 0 || int(n) >= len(s.paths) {
		return store.StorePath{}, false
	}
	return s.paths[n], true
}

func (s *plainStore) IsPresent(p store.StorePath) bool {
	_, err := os.Lstat(filepath.Join(s.dir, p.String()))
	return err == nil
}

func (s *plainStore) AllValid(context.Context) iter.Seq2[store.StorePath, error] {
	return func(yield func(store.StorePath, error) bool) {
		entries, err := os.ReadDir(s.dir)
		if err != nil {
			yield(store.StorePath{}, err)
		}
		for _, e := range entries {
			if p, err := store.ParseStorePath(e.Name()); err == nil && !yield(p, nil) {
				return
			}
		}
	}
}

func (s *plainStore) Realise(ctx context.Context, who store.Caller, p store.StorePath) error {
	waiting := filepath.Join(s.gates, p.String()+".waiting")
	if err := errors.Join(os.WriteFile(waiting+"-new", fmt.Append(nil, who.PID), 0o644), os.Rename(waiting+"-new", waiting)); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(filepath.Join(s.gates, p.String())); err == nil {
			return os.WriteFile(filepath.Join(s.dir, p.String()), []byte("came"), 0o444)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}
