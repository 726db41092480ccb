package fusefs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Here methods are called as the server would; nothing is mounted.

// quiet is a kernel that is told things and does nothing.
type quiet struct{}

func (quiet) EntryNotify(uint64, string) fuse.Status { return fuse.OK }

func newUnmounted(t testing.TB) (*FS, *fakeStore) {
	t.Helper()
	s := newFakeStore(t)
	f, err := New(Options{Objects: s, Realiser: s, UID: 7, GID: 8})
	if err != nil {
		t.Fatal(err)
	}
	f.proc = procFS(t.TempDir())
	f.start(quiet{})
	t.Cleanup(func() {
		if err := errors.Join(f.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	})
	return f, s
}

func lookup(f *FS, dir uint64, name string) (fuse.EntryOut, fuse.Status) {
	var out fuse.EntryOut
	code := f.Lookup(nil, &fuse.InHeader{NodeId: dir}, name, &out)
	return out, code
}

func getattr(f *FS, id uint64) (fuse.AttrOut, fuse.Status) {
	var out fuse.AttrOut
	code := f.GetAttr(nil, &fuse.GetAttrIn{InHeader: fuse.InHeader{NodeId: id}}, &out)
	return out, code
}

func TestNodeID(t *testing.T) {
	for _, id := range []nodeID{
		newNodeID(0, kindAlias, 2), newNodeID(0, kindDirectory, 0), newNodeID(1, kindRegular, 5), newNodeID(1<<32-1, kindSymlink, maxEntries-1),
	} {
		if id == rootID || id == 0 || uint64(id) == ^uint64(0) {
			t.Errorf("%v collides", id)
		}
		if again := newNodeID(id.object(), id.kind(), id.entry()); again != id {
			t.Errorf("%v became %v", id, again)
		}
	}
}

func TestLookupOfWhatIsHere(t *testing.T) {
	f, s := newUnmounted(t)
	p := s.add(t, "here", tree{"dir/file": "12345", "link": "->dir"})
	top, code := lookup(f, fuse.FUSE_ROOT_ID, p.String())
	if code != fuse.OK || nodeID(top.NodeId).kind() != kindDirectory || top.Mode != unix.S_IFDIR|0o555 || top.Uid != 7 || top.Gid != 8 {
		t.Fatalf("%v, %+v", code, top)
	}
	if top.EntryTimeout() != topEntryTimeout || top.AttrTimeout() != forever {
		t.Errorf("timeouts %v, %v", top.EntryTimeout(), top.AttrTimeout())
	}
	dir, _ := lookup(f, top.NodeId, "dir")
	file, code := lookup(f, dir.NodeId, "file")
	if code != fuse.OK || file.Size != 5 || file.EntryTimeout() != forever || file.Mtime != 1 || file.Nlink != 1 {
		t.Errorf("%v, %+v", code, file)
	}
	nothing, code := lookup(f, dir.NodeId, "nothing")
	if code != fuse.OK || nothing.NodeId != 0 || nothing.EntryTimeout() != forever {
		t.Errorf("a name that is not in it: %v, %+v", code, nothing)
	}
	if _, code := lookup(f, file.NodeId, "below"); code != fuse.ENOTDIR {
		t.Errorf("below a file: %v", code)
	}
	attr, code := getattr(f, file.NodeId)
	if code != fuse.OK || attr.Attr != file.Attr {
		t.Errorf("%v, %+v", code, attr)
	}
	target, code := f.Readlink(nil, &fuse.InHeader{NodeId: uint64(newNodeID(1, kindSymlink, 3))})
	if code != fuse.OK || string(target) != "dir" {
		t.Errorf("%v, %q", code, target)
	}
	buf := make([]byte, 100)
	r, code := f.Read(nil, &fuse.ReadIn{InHeader: fuse.InHeader{NodeId: file.NodeId}, Offset: 2}, buf)
	if code != fuse.OK || r.Size() != 3 {
		t.Errorf("%v, %+v", code, r)
	}
	if r, code := f.Read(nil, &fuse.ReadIn{InHeader: fuse.InHeader{NodeId: file.NodeId}, Offset: 1 << 62}, buf); code != fuse.OK || r.Size() != 0 {
		t.Errorf("beyond the end: %v, %+v", code, r)
	}
	var st fuse.StatfsOut
	if code := f.StatFs(nil, &fuse.InHeader{}, &st); code != fuse.OK || st.Blocks == 0 {
		t.Errorf("%v, %+v", code, st)
	}
}

// Ids that the kernel cannot have got from us do no harm.
func TestInventedNodes(t *testing.T) {
	f, s := newUnmounted(t)
	s.add(t, "file", tree{"": "x"})
	s.add(t, "dir", tree{"a": "x"})
	for range 5000 {
		id := uint64(rand.IntN(4))<<32 | uint64(rand.IntN(4))<<30 | uint64(rand.IntN(4))
		if rand.IntN(4) == 0 {
			id = rand.Uint64()
		}
		if nodeID(id) == rootID {
			continue
		}
		getattr(f, id)
		lookup(f, id, "a")
		f.Readlink(nil, &fuse.InHeader{NodeId: id})
		f.Read(nil, &fuse.ReadIn{InHeader: fuse.InHeader{NodeId: id}}, make([]byte, 10))
		f.ReadDir(nil, &fuse.ReadIn{InHeader: fuse.InHeader{NodeId: id}, Offset: rand.Uint64()}, fuse.NewDirEntryList(make([]byte, 4096), 0))
		f.Forget(id, uint64(rand.IntN(3)))
	}
}

// A placeholder's node becomes the real thing, and what slips past GETATTR is ESTALE.
func TestPlaceholderBecomesReal(t *testing.T) {
	f, s := newUnmounted(t)
	open := make(chan struct{})
	p := s.plan("absent", open, tree{"file": "x"})
	ph, code := lookup(f, fuse.FUSE_ROOT_ID, p.String())
	if code != fuse.OK || ph.EntryTimeout() != 0 || ph.AttrTimeout() != 0 || ph.Mode&unix.S_IFMT != unix.S_IFDIR {
		t.Fatalf("%v, %+v", code, ph)
	}
	if _, code := lookup(f, ph.NodeId, "file"); code != fuse.Status(unix.ESTALE) {
		t.Errorf("child of a placeholder: %v", code)
	}
	if code := f.ReadDir(nil, &fuse.ReadIn{InHeader: fuse.InHeader{NodeId: ph.NodeId}}, fuse.NewDirEntryList(make([]byte, 4096), 0)); code != fuse.Status(unix.ESTALE) {
		t.Errorf("listing of a placeholder: %v", code)
	}
	if len(s.takeCalls()) != 0 {
		t.Error("something but GETATTR called the realiser")
	}
	close(open)
	if attr, code := getattr(f, ph.NodeId); code != fuse.OK || attr.Timeout() != forever {
		t.Errorf("%v, %+v", code, attr)
	}
	if child, code := lookup(f, ph.NodeId, "file"); code != fuse.OK || child.NodeId == 0 {
		t.Errorf("%v, %+v", code, child)
	}
	if again, _ := lookup(f, fuse.FUSE_ROOT_ID, p.String()); again.NodeId != ph.NodeId {
		t.Error("it has another node now")
	}
}

// A path whose reservation was lost while somebody waited has another number now:
// the old node must not become it.
func TestReservationLostDuringWait(t *testing.T) {
	f, s := newUnmounted(t)
	open := make(chan struct{})
	p := s.plan("absent", open, tree{"file": "x"})
	ph, _ := lookup(f, fuse.FUSE_ROOT_ID, p.String())
	result := make(chan fuse.Status, 1)
	go func() {
		_, code := getattr(f, ph.NodeId)
		result <- code
	}()
	eventually(t, "it waits", func() bool { return s.waiters(p) == 1 })
	s.ReleaseNumber(nodeID(ph.NodeId).object())
	s.Number(p)
	close(open)
	if code := <-result; code != fuse.Status(unix.ESTALE) {
		t.Errorf("the old node: %v", code)
	}
	again, _ := lookup(f, fuse.FUSE_ROOT_ID, p.String())
	if _, code := getattr(f, again.NodeId); code != fuse.OK || again.NodeId == ph.NodeId {
		t.Errorf("the new node: %v", code)
	}
}

// Derivations are files; who cannot do with a directory gets a symlink, each his own.
func TestKindOfPlaceholder(t *testing.T) {
	f, _ := newUnmounted(t)
	calls := map[uint32]string{1: "59 0x7ff 0x0", 2: "4 0x1", 3: "-1 0x1", 4: "89 0x1", 5: "322 0x1"}
	for tid, call := range calls {
		dir := filepath.Join(string(f.proc), fmt.Sprint(tid))
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "syscall"), []byte(call+"\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if len(symlinkCalls) == 0 || symlinkCalls[0] != "59" {
		t.Skip("the numbers are those of another architecture")
	}
	want := map[uint32]kind{0: kindDirectory, 1: kindAlias, 2: kindDirectory, 3: kindDirectory, 4: kindAlias, 5: kindAlias, 6: kindDirectory}
	for tid, k := range want {
		h := &fuse.InHeader{NodeId: fuse.FUSE_ROOT_ID, Caller: fuse.Caller{Pid: tid}}
		var a, b fuse.EntryOut
		f.Lookup(nil, h, storePath("absent").String(), &a)
		f.Lookup(nil, h, storePath("absent").String(), &b)
		if got := nodeID(a.NodeId).kind(); got != k {
			t.Errorf("caller %d: %v, want %v", tid, got, k)
		}
		if (a.NodeId == b.NodeId) != (k != kindAlias) {
			t.Errorf("caller %d: nodes %x and %x", tid, a.NodeId, b.NodeId)
		}
	}
	if drv, _ := lookup(f, fuse.FUSE_ROOT_ID, storePath("x.drv").String()); nodeID(drv.NodeId).kind() != kindRegular {
		t.Errorf("a derivation: %v", nodeID(drv.NodeId))
	}
}

// A reservation lives exactly as long as the kernel's references.
func TestReservations(t *testing.T) {
	f, s := newUnmounted(t)
	p := storePath("absent")
	a, _ := lookup(f, fuse.FUSE_ROOT_ID, p.String())
	lookup(f, fuse.FUSE_ROOT_ID, p.String())
	f.Forget(a.NodeId, 1)
	if len(s.released) != 0 {
		t.Fatal("released too early")
	}
	f.Forget(a.NodeId, 1)
	if len(s.released) != 1 || len(f.lookups.objects) != 0 {
		t.Fatalf("released %d times, %d objects counted", len(s.released), len(f.lookups.objects))
	}
	here := s.add(t, "here", tree{"": "x"})
	b, _ := lookup(f, fuse.FUSE_ROOT_ID, here.String())
	f.Forget(b.NodeId, 1)
	if len(s.released) != 1 {
		t.Error("the number of something that is here was released")
	}
}

// Many look up and forget the same few names; no answer may hold a number that
// has been released.
func TestReservationsUnderLoad(t *testing.T) {
	f, s := newUnmounted(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(g)))
			for range 3000 {
				p := storePath(fmt.Sprint("absent-", r.IntN(3)))
				out, code := lookup(f, fuse.FUSE_ROOT_ID, p.String())
				if code != fuse.OK {
					t.Errorf("lookup: %v", code)
					return
				}
				if q, ok := s.PathOf(nodeID(out.NodeId).object()); !ok || q != p {
					t.Errorf("%s was answered with the number of %q", p, q)
					return
				}
				f.Forget(out.NodeId, 1)
			}
		})
	}
	wg.Wait()
	if len(s.numbers) != 0 || len(f.lookups.objects) != 0 {
		t.Errorf("%d reservations, %d objects remain", len(s.numbers), len(f.lookups.objects))
	}
}

// A directory that is read in small pieces is complete, in order, without repeats.
func TestReadDirInPieces(t *testing.T) {
	f, s := newUnmounted(t)
	contents := tree{}
	var want []string
	for i := range 500 {
		name := fmt.Sprintf("%04d%s", i, strings.Repeat("x", i%50))
		contents[name] = ""
		want = append(want, name)
	}
	p := s.add(t, "large", contents)
	var wantRoot []string
	for i := range 300 {
		wantRoot = append(wantRoot, s.add(t, fmt.Sprint("object-", i), tree{"": "x"}).String())
	}
	wantRoot = append(wantRoot, p.String())
	top, _ := lookup(f, fuse.FUSE_ROOT_ID, p.String())
	for _, plus := range []bool{false, true} {
		got := readAll(t, f, top.NodeId, plus)
		if !slices.Equal(got, append([]string{".", ".."}, want...)) {
			t.Errorf("plus %v: %d entries", plus, len(got))
		}
		got = readAll(t, f, fuse.FUSE_ROOT_ID, plus)[2:]
		slices.Sort(got)
		slices.Sort(wantRoot)
		if !slices.Equal(got, wantRoot) {
			t.Errorf("root, plus %v: %d entries", plus, len(got))
		}
	}
}

func readAll(t *testing.T, f *FS, id uint64, plus bool) (names []string) {
	t.Helper()
	for offset := uint64(0); ; {
		out := fuse.NewDirEntryList(make([]byte, 700), offset)
		in := &fuse.ReadIn{InHeader: fuse.InHeader{NodeId: id}, Offset: offset}
		var code fuse.Status
		var list []fuse.DirEntry
		var err error
		if plus {
			code = f.ReadDirPlus(nil, in, out)
			list, _, err = fuse.ParseDirLookupEntries(out.Bytes())
		} else {
			code = f.ReadDir(nil, in, out)
			list, err = fuse.ParseDirEntries(out.Bytes())
		}
		if code != fuse.OK {
			t.Fatal(code)
		}
		if err != nil || len(list) == 0 { // the root ends with half an entry
			return names
		}
		for _, e := range list {
			names = append(names, e.Name)
			offset = e.Off
		}
	}
}

// Who waits is freed by what its signals say, and by the end of everything.
func TestInterrupt(t *testing.T) {
	f, s := newUnmounted(t)
	p := s.plan("absent", make(chan struct{}), nil)
	n, _ := s.Number(p)
	dir := filepath.Join(string(f.proc), "42")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	pending := func(set sigset) {
		t.Helper()
		text := fmt.Sprintf("Name:\tx\nTgid:\t41\nSigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n",
			0, set, 0, 0, sigs(unix.SIGUSR1, unix.SIGINT))
		if err := errors.Join(os.WriteFile(dir+"/new", []byte(text), 0o644), os.Rename(dir+"/new", dir+"/status")); err != nil {
			t.Fatal(err)
		}
	}
	wait := func() (cancel chan struct{}, result chan fuse.Status) {
		cancel, result = make(chan struct{}), make(chan fuse.Status, 1)
		go func() { result <- f.await(cancel, fuse.Caller{Pid: 42}, n, p) }()
		eventually(t, "it waits", func() bool { return s.waiters(p) == 1 })
		return cancel, result
	}
	for _, harmless := range []sigset{0, sigs(unix.SIGURG), sigs(unix.SIGCHLD), sigs(unix.SIGUSR1), sigs(unix.SIGTSTP)} {
		pending(harmless)
		cancel, result := wait()
		close(cancel)
		select {
		case code := <-result:
			t.Fatalf("signals %x: %v", harmless, code)
		case <-time.After(3 * signalPoll):
		}
		pending(harmless | sigs(unix.SIGINT))
		if code := <-result; code != fuse.EINTR {
			t.Errorf("SIGINT after %x: %v", harmless, code)
		}
		eventually(t, "nobody waits", func() bool { return s.waiters(p) == 0 })
	}
	if who := s.takeCalls()[0]; who.PID != 41 {
		t.Errorf("the caller is %v, not the process", who)
	}
	pending(0)
	f.dead = func() bool { return true }
	cancel, result := wait()
	close(cancel)
	if code := <-result; code != fuse.EINTR {
		t.Errorf("dead connection: %v", code)
	}
	f.dead = func() bool { return false }
	eventually(t, "nobody waits", func() bool { return s.waiters(p) == 0 })
	_, result = wait()
	f.cancel()
	if code := <-result; code != fuse.EINTR {
		t.Errorf("stop: %v", code)
	}
}

func TestMustLeave(t *testing.T) {
	d := procFS(t.TempDir())
	os.Mkdir(string(d)+"/5", 0o755)
	const nothing, alarm, segv, intr = sigset(0), sigset(1 << 13), sigset(1 << 10), sigset(1 << 1)
	for _, c := range []struct {
		thread, process, blocked, ignored, caught sigset
		want                                      bool
	}{
		{want: false},
		{thread: sigs(unix.SIGKILL), want: true},
		{process: intr, caught: intr, want: true},
		{process: intr, blocked: intr, caught: intr, want: false},
		{process: alarm, want: true}, // nobody catches it: fatal
		{process: alarm, caught: alarm, want: false},
		{thread: segv, want: true},
		{process: sigs(unix.SIGCONT, unix.SIGURG, unix.SIGWINCH, unix.SIGSTOP), want: false},
		{process: 1 << 33, want: true}, // a real-time signal
		{process: 1 << 33, caught: 1 << 33, want: false},
		{process: alarm, ignored: alarm, want: false},
	} {
		text := fmt.Sprintf("SigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n", c.thread, c.process, c.blocked, c.ignored, c.caught)
		os.WriteFile(string(d)+"/5/status", []byte(text), 0o644)
		if got := d.mustLeave(5); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	os.WriteFile(string(d)+"/5/status", []byte("SigPnd:\t0\n"), 0o644)
	if !d.mustLeave(5) || !d.mustLeave(0) || !d.mustLeave(6) {
		t.Error("who cannot be looked at must leave")
	}
	if procFS("/proc").mustLeave(uint32(unix.Gettid())) || nothing != 0 {
		t.Error("this thread has nothing pending")
	}
}

func TestChangesAreRefused(t *testing.T) {
	f, _ := newUnmounted(t)
	for name, code := range map[string]fuse.Status{
		"mkdir":    f.Mkdir(nil, &fuse.MkdirIn{}, "x", nil),
		"unlink":   f.Unlink(nil, &fuse.InHeader{}, "x"),
		"create":   f.Create(nil, &fuse.CreateIn{}, "x", nil),
		"setattr":  f.SetAttr(nil, &fuse.SetAttrIn{}, nil),
		"rename":   f.Rename(nil, &fuse.RenameIn{}, "x", "y"),
		"setxattr": f.SetXAttr(nil, &fuse.SetXAttrIn{}, "x", nil),
	} {
		if code != fuse.EROFS {
			t.Errorf("%s: %v", name, code)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	s := newFakeStore(t)
	s.dir += "/absent"
	for _, o := range []Options{{}, {Objects: s}, {Realiser: s}, {Objects: s, Realiser: s}} {
		if f, err := New(o); err == nil {
			f.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
}
