package fusefs

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"larder/fusefs/mount"
	"larder/store"
)

// patience is how long a test waits for what must happen soon.
const patience = 10 * time.Second

// mounted is a file system that is really mounted, by this process. The test
// itself must not wait in it: that is for processes (see touch).
type mounted struct {
	t     testing.TB
	store *fakeStore
	fs    *FS
	count *counting
	dir   string
	ended chan error // of Serve
	stop  context.CancelFunc
}

func newMounted(t testing.TB) *mounted {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting here needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("no FUSE: %v", err)
	}
	s := newFakeStore(t)
	f, err := New(Options{Objects: s, Realiser: s})
	if err != nil {
		t.Fatal(err)
	}
	m := &mounted{t: t, store: s, fs: f, count: &counting{FS: f, seen: map[string]int{}}, dir: t.TempDir(), ended: make(chan error, 1)}
	dev, err := mount.Attach(m.dir, true, MaxRead)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	t.Cleanup(m.unmount)
	ready := make(chan struct{})
	go func() { m.ended <- f.serve(ctx, m.count, dev, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-m.ended:
		t.Fatal(err)
	}
	return m
}

// unmount aborts the connection, so that nobody can hang, then detaches.
func (m *mounted) unmount() {
	unix.Unmount(m.dir, unix.MNT_FORCE)
	unix.Unmount(m.dir, unix.MNT_DETACH)
	select {
	case err := <-m.ended:
		if err != nil {
			m.t.Errorf("serve: %v", err)
		}
	case <-time.After(patience):
		m.t.Error("the server did not end after the unmount")
	}
	m.stop()
}

// sleepInWait gives somebody who waits for p time to be disturbed. Nothing tells
// when signals that have no effect have had none.
func (m *mounted) sleepInWait(t testing.TB, p store.StorePath, milliseconds int) {
	t.Helper()
	time.Sleep(time.Duration(milliseconds) * time.Millisecond)
	if m.store.waiters(p) != 1 {
		t.Fatal("it does not wait any more")
	}
}

func (m *mounted) path(p store.StorePath, below ...string) string {
	return filepath.Join(append([]string{m.dir, p.String()}, below...)...)
}

// touch starts a process that does one thing in the mount, see testdata/toucher.
func (m *mounted) touch(t testing.TB, op string, args ...string) *process {
	t.Helper()
	program, err := toucher()
	if err != nil {
		t.Fatalf("build the toucher: %v", err)
	}
	return start(t, exec.Command(program, append([]string{op}, args...)...))
}

// process is one that may hang in the mount. It is killed at the end of the test.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	out    *bytes.Buffer
	ended  chan struct{}
	status error
}

func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, out: &bytes.Buffer{}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.out, p.out
	// A descendant that keeps the output open must not keep us.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.status = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		select {
		case <-p.ended:
		case <-time.After(time.Second): // the end of the mount will free it
			t.Errorf("process %d (%v) cannot be killed", cmd.Process.Pid, cmd.Args)
		}
	})
	return p
}

func (p *process) signal(s syscall.Signal) { p.cmd.Process.Signal(s) }

// wait returns what the process printed.
func (p *process) wait() string {
	p.t.Helper()
	select {
	case <-p.ended:
		return strings.TrimSpace(p.out.String())
	case <-time.After(patience):
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stack", p.cmd.Process.Pid))
		p.t.Fatalf("%v still runs after %v\n%s", p.cmd.Args, patience, status)
		return ""
	}
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v still not: %s", patience, what)
		}
	}
}

// counting counts requests by name. FORGET is no request of anybody.
type counting struct {
	*FS
	mu   sync.Mutex
	seen map[string]int
}

func (c *counting) note(op string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[op]++
}

// take returns the counts since the last time.
func (c *counting) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := maps.Clone(c.seen)
	clear(c.seen)
	return seen
}

func (c *counting) Lookup(x <-chan struct{}, h *fuse.InHeader, n string, o *fuse.EntryOut) fuse.Status {
	c.note("LOOKUP")
	return c.FS.Lookup(x, h, n, o)
}
func (c *counting) GetAttr(x <-chan struct{}, i *fuse.GetAttrIn, o *fuse.AttrOut) fuse.Status {
	c.note("GETATTR")
	return c.FS.GetAttr(x, i, o)
}
func (c *counting) Readlink(x <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	c.note("READLINK")
	return c.FS.Readlink(x, h)
}
func (c *counting) Open(x <-chan struct{}, i *fuse.OpenIn, o *fuse.OpenOut) fuse.Status {
	c.note("OPEN")
	return c.FS.Open(x, i, o)
}
func (c *counting) Flush(x <-chan struct{}, i *fuse.FlushIn) fuse.Status {
	c.note("FLUSH")
	return c.FS.Flush(x, i)
}
func (c *counting) Release(x <-chan struct{}, i *fuse.ReleaseIn) {
	c.note("RELEASE")
	c.FS.Release(x, i)
}
func (c *counting) OpenDir(x <-chan struct{}, i *fuse.OpenIn, o *fuse.OpenOut) fuse.Status {
	c.note("OPENDIR")
	return c.FS.OpenDir(x, i, o)
}
func (c *counting) ReleaseDir(i *fuse.ReleaseIn) {
	c.note("RELEASEDIR")
	c.FS.ReleaseDir(i)
}
func (c *counting) ReadDir(x <-chan struct{}, i *fuse.ReadIn, o *fuse.DirEntryList) fuse.Status {
	c.note("READDIR")
	return c.FS.ReadDir(x, i, o)
}
func (c *counting) ReadDirPlus(x <-chan struct{}, i *fuse.ReadIn, o *fuse.DirEntryList) fuse.Status {
	c.note("READDIRPLUS")
	return c.FS.ReadDirPlus(x, i, o)
}
func (c *counting) Read(x <-chan struct{}, i *fuse.ReadIn, b []byte) (fuse.ReadResult, fuse.Status) {
	c.note("READ")
	return c.FS.Read(x, i, b)
}
func (c *counting) Access(x <-chan struct{}, i *fuse.AccessIn) fuse.Status {
	c.note("ACCESS")
	return c.FS.Access(x, i)
}
func (c *counting) GetXAttr(x <-chan struct{}, h *fuse.InHeader, a string, d []byte) (uint32, fuse.Status) {
	c.note("GETXATTR")
	return c.FS.GetXAttr(x, h, a, d)
}
func (c *counting) ListXAttr(x <-chan struct{}, h *fuse.InHeader, d []byte) (uint32, fuse.Status) {
	c.note("LISTXATTR")
	return c.FS.ListXAttr(x, h, d)
}
func (c *counting) Lseek(x <-chan struct{}, i *fuse.LseekIn, o *fuse.LseekOut) fuse.Status {
	c.note("LSEEK")
	return c.FS.Lseek(x, i, o)
}
func (c *counting) Ioctl(x <-chan struct{}, i *fuse.IoctlIn, b []byte, o *fuse.IoctlOut, p []byte) fuse.Status {
	c.note("IOCTL")
	return c.FS.Ioctl(x, i, b, o, p)
}
func (c *counting) StatFs(x <-chan struct{}, h *fuse.InHeader, o *fuse.StatfsOut) fuse.Status {
	c.note("STATFS")
	return c.FS.StatFs(x, h, o)
}
func (c *counting) Statx(x <-chan struct{}, i *fuse.StatxIn, o *fuse.StatxOut) fuse.Status {
	c.note("STATX")
	return c.FS.Statx(x, i, o)
}
