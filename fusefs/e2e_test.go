package fusefs

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"larder/store"
)

func script(says string) string { return "#!/bin/sh\necho " + says + "\n" }

// Every way to touch an absent object waits, and then succeeds as if the object had
// been there.
func TestAccessOfAbsentObjectWaits(t *testing.T) {
	m := newMounted(t)
	dir := tree{"bin/hello": script("hello"), "text": "inside", "link": "->text"}
	file := tree{"": script("single")}
	link := tree{"": "->" + m.dir}
	for _, c := range []struct {
		name  string
		tree  tree
		op    string
		below string
		want  string
	}{
		{"stat of a directory", dir, "stat", "", "ok 40555"},
		{"stat of a file", file, "stat", "", "ok 100555"},
		{"lstat of a directory", dir, "lstat", "", "ok 40555"},
		{"lstat of a file", file, "lstat", "", "ok 100555"},
		{"lstat of a symlink", link, "lstat", "", "ok 120777"},
		{"stat through a symlink", link, "stat", "", "ok 40555"},
		{"statx with birth time", file, "statx", "", "ok 100555"},
		{"open of a file in it", dir, "read", "text", "ok inside"},
		{"open of a symlink in it", dir, "read", "link", "ok inside"},
		{"open of a single file", file, "read", "", "ok " + file[""][:len(file[""])-1]},
		{"name that is not in it", dir, "stat", "nothing", "ENOENT"},
		{"exec of a child", dir, "exec", "bin/hello", "hello"},
		{"exec of a single file", file, "exec", "", "single"},
		{"exec of what is no program", dir, "exec", "text", "EACCES"},
		{"readdir", dir, "readdir", "", "ok bin link text"},
		{"access", dir, "access", "", "ok"},
		{"access of a file", file, "access", "", "ok"},
		{"chdir", dir, "chdir", "bin", "ok"},
		{"chdir to itself", dir, "chdir", "", "ok"},
		{"readlink of a symlink", link, "readlink", "", "ok " + m.dir},
		{"readlink of a directory", dir, "readlink", "", "EINVAL"},
		{"realpath", dir, "realpath", "link", ""},
		{"O_PATH and fstat of a directory", dir, "opath", "", "ok 40555"},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := make(chan struct{})
			p := m.store.plan(strings.ReplaceAll(c.name, " ", "-"), open, c.tree)
			proc := m.touch(t, c.op, m.path(p, c.below))
			eventually(t, "somebody waits", func() bool { return m.store.waiters(p) == 1 || !proc.running() })
			if !proc.running() {
				t.Fatalf("it did not wait: %s", proc.wait())
			}
			close(open)
			want := c.want
			if c.op == "realpath" {
				want = "ok " + m.path(p, "text")
			}
			if got := proc.wait(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// Sixteen at once are one realisation.
func TestManyAccessesAreOneRealisation(t *testing.T) {
	m := newMounted(t)
	for _, c := range []struct{ op, below, want string }{
		{"stat", "", "ok 40555"},
		{"lstat", "", "ok 40555"},
		{"read", "text", "ok inside"},
		{"exec", "bin/hello", "hello"},
		{"readdir", "", "ok bin text"},
		{"access", "", "ok"},
		{"chdir", "", "ok"},
		{"readlink", "", "EINVAL"},
		{"opath", "", "ok 40555"},
	} {
		t.Run(c.op, func(t *testing.T) {
			open := make(chan struct{})
			p := m.store.plan("many-"+c.op, open, tree{"bin/hello": script("hello"), "text": "inside"})
			var procs []*process
			for range 16 {
				procs = append(procs, m.touch(t, c.op, m.path(p, c.below)))
			}
			eventually(t, "all wait", func() bool { return m.store.waiters(p) == 16 })
			before := m.store.goalsStarted()
			close(open)
			for _, proc := range procs {
				if got := proc.wait(); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			}
			if n := m.store.goalsStarted(); n != before {
				t.Errorf("%d more goals were started", n-before)
			}
		})
	}
}

// A waiter is freed by the signals that mean it, alone, at once, whatever it waits in.
func TestWaitersAreFreedOneByOne(t *testing.T) {
	m := newMounted(t)
	// A Go program catches all but SIGKILL, the others nothing.
	caught := []syscall.Signal{0, syscall.SIGINT, syscall.SIGKILL, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP}
	fatal := append(caught, syscall.SIGALRM, syscall.SIGUSR1, syscall.SIGPIPE, syscall.SIGSEGV)
	ways := map[string]func(t *testing.T, path string) *process{
		"stat -c%F": func(t *testing.T, path string) *process { return start(t, exec.Command("stat", "-c%F", path)) },
		"cat":       func(t *testing.T, path string) *process { return start(t, exec.Command("cat", path)) },
		"sh": func(t *testing.T, path string) *process {
			return start(t, exec.Command("/bin/sh", "-c", `exec "$0"`, path))
		},
	}
	for _, op := range []string{"stat", "read", "exec", "readlink", "opath"} {
		ways["Go, "+op] = func(t *testing.T, path string) *process { return m.touch(t, op, path) }
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			open := make(chan struct{})
			contents := tree{"": script("done")}
			if name == "Go, opath" {
				contents = tree{"text": "x"} // nobody asks before fstat, and that does not retry
			}
			p := m.store.plan("freed-"+strings.NewReplacer(" ", "-", ",", "", "%", "").Replace(name), open, contents)
			signals := fatal
			if strings.HasPrefix(name, "Go") {
				signals = caught
			}
			procs := map[syscall.Signal]*process{}
			for _, s := range signals {
				if !signal.Ignored(s) { // as programs inherit it, from nohup for one
					procs[s] = way(t, m.path(p))
				}
			}
			left := len(procs)
			eventually(t, "all wait", func() bool { return m.store.waiters(p) == left })
			for s, proc := range procs {
				if s == 0 {
					continue
				}
				proc.signal(s)
				proc.wait()
				left--
				eventually(t, "one has left", func() bool { return m.store.waiters(p) == left })
			}
			if m.store.waiters(p) != 1 || !procs[0].running() {
				t.Fatal("the one that nobody signalled was disturbed")
			}
			close(open)
			if got := procs[0].wait(); strings.HasPrefix(got, "E") && got != "EINVAL" {
				t.Errorf("the one that nobody signalled got %q", got)
			}
		})
	}
}

// Signals that programs use among themselves do not end a wait, and the one that
// comes after them still does.
func TestRuntimeSignalsDoNotDisturb(t *testing.T) {
	m := newMounted(t)
	t.Run("Go, SIGURG", func(t *testing.T) {
		open := make(chan struct{})
		p, q := m.store.plan("go-stat", open, tree{"text": "x"}), m.store.plan("go-exec", open, tree{"": script("fine")})
		proc := m.touch(t, "stormy", m.path(p), m.path(q))
		eventually(t, "it waits", func() bool { return m.store.waiters(p) == 1 })
		m.sleepInWait(t, p, 200)
		close(open)
		if got := proc.wait(); got != "fine" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("Python, SIGCHLD and SIGALRM", func(t *testing.T) {
		python, err := exec.LookPath("python3")
		if err != nil {
			t.Skip("no python3")
		}
		open := make(chan struct{})
		p := m.store.plan("python", open, tree{"text": "inside"})
		proc := start(t, exec.Command(python, "-c", `
import os, signal, subprocess, sys
signal.signal(signal.SIGCHLD, lambda *a: None)
signal.signal(signal.SIGALRM, lambda *a: None)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
for i in range(5): subprocess.Popen(["sleep", "0.0%d" % i])
os.stat(sys.argv[1])
print(open(sys.argv[1] + "/text").read())`, m.path(p)))
		eventually(t, "it waits", func() bool { return m.store.waiters(p) == 1 })
		m.sleepInWait(t, p, 200)
		close(open)
		if got := proc.wait(); got != "inside" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("killed after a harmless one", func(t *testing.T) {
		p := m.store.plan("harmless-first", make(chan struct{}), nil)
		proc := m.touch(t, "stormy", m.path(p), "/bin/true")
		eventually(t, "it waits", func() bool { return m.store.waiters(p) == 1 })
		m.sleepInWait(t, p, 50)
		proc.signal(syscall.SIGKILL)
		proc.wait()
		eventually(t, "nobody waits", func() bool { return m.store.waiters(p) == 0 })
	})
}

// What cannot come is ENOENT, what fails is EIO, what cannot be stored is EROFS, a name that no path has is
// ENOENT and nobody is asked.
func TestFailures(t *testing.T) {
	m := newMounted(t)
	failing, unknown := m.store.planFailure("failing"), storePath("unknown")
	unwritable := m.store.planError("unwritable", fmt.Errorf("it is: %w", store.ErrReadOnly))
	for _, op := range []string{"stat", "read", "exec", "readdir", "access", "chdir", "opath", "readlink"} {
		for p, want := range map[store.StorePath]string{failing: "EIO", unknown: "ENOENT", unwritable: "EROFS"} {
			if got := m.touch(t, op, m.path(p)).wait(); got != want {
				t.Errorf("%s of %s: got %q, want %s", op, p.Name(), got, want)
			}
		}
	}
	m.store.takeCalls()
	for _, name := range []string{"hello", ".git", "00000000000000000000000000000000", "0000000000000000000000000000000e-name", ".larder-tmp-1"} {
		if got := m.touch(t, "stat", filepath.Join(m.dir, name)).wait(); got != "ENOENT" {
			t.Errorf("stat of %q: got %q", name, got)
		}
	}
	if calls := m.store.takeCalls(); len(calls) > 0 {
		t.Errorf("the realiser was asked for names that cannot exist: %v", calls)
	}
}

// While somebody waits, nothing in the root does: not a mkdir, not a listing, not
// another lookup, not even after the caches were dropped.
func TestRootNeverWaits(t *testing.T) {
	m := newMounted(t)
	here := m.store.add(t, "here", tree{"text": "inside"})
	open := make(chan struct{})
	defer close(open)
	absent := m.store.plan("absent", open, tree{"text": "x"})
	for range 3 {
		m.touch(t, "stat", m.path(absent))
		m.touch(t, "exec", m.path(absent))
	}
	m.touch(t, "read", m.path(absent, "text"))
	eventually(t, "all wait", func() bool { return m.store.waiters(absent) == 7 })
	check := func() {
		t.Helper()
		for _, c := range [][3]string{
			{"mkdir", filepath.Join(m.dir, "new"), "EROFS"},
			{"mkdir", m.path(absent), "EEXIST"},
			{"read", m.path(here, "text"), "ok inside"},
			{"readdir", m.dir, "ok " + here.String()},
			{"stat", m.path(storePath("another")), "ENOENT"},
		} {
			if got := m.touch(t, c[0], c[1]).wait(); got != c[2] {
				t.Errorf("%s %s: got %q, want %q", c[0], c[1], got, c[2])
			}
		}
	}
	check()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
		t.Skipf("cannot drop caches: %v", err)
	}
	check()
	if n := m.store.waiters(absent); n != 7 {
		t.Errorf("%d of 7 wait still", n)
	}
}

// The listing of the root is what is here, at any time, and is never cached.
func TestRootListing(t *testing.T) {
	m := newMounted(t)
	var want []string
	list := func() {
		t.Helper()
		got := strings.Fields(m.touch(t, "readdir", m.dir).wait())[1:]
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("got %d entries %.200q, want %d", len(got), got, len(want))
		}
	}
	list()
	for i := range 300 {
		p := m.store.add(t, fmt.Sprintf("object-%d-with-a-long-name-so-that-buffers-fill-up-quickly", i), tree{"": "x"})
		want = append(want, p.String())
		if i < 20 || i%50 == 0 {
			list()
			list()
		}
	}
	list()
	open := make(chan struct{})
	absent := m.store.plan("absent", open, tree{"text": "x"})
	proc := m.touch(t, "stat", m.path(absent))
	eventually(t, "it waits", func() bool { return m.store.waiters(absent) == 1 })
	list()
	close(open)
	proc.wait()
	want = append(want, absent.String())
	list()
	gone := storePath("object-7-with-a-long-name-so-that-buffers-fill-up-quickly")
	m.store.deleted(t, gone)
	want = slices.DeleteFunc(want, func(s string) bool { return s == gone.String() })
	list()
	out := start(t, exec.Command("ls", "-l", m.dir)).wait()
	if n := strings.Count(out, "\n"); n != len(want) {
		t.Errorf("ls -l prints %d lines for %d objects", n, len(want))
	}
}

// An unmount does not hang because somebody waits; he gets an error.
func TestUnmountWhileWaiting(t *testing.T) {
	m := newMounted(t)
	p := m.store.plan("never", make(chan struct{}), nil)
	proc := m.touch(t, "stat", m.path(p))
	child := m.touch(t, "exec", m.path(p))
	eventually(t, "both wait", func() bool { return m.store.waiters(p) == 2 })
	if err := unix.Unmount(m.dir, 0); err != unix.EBUSY {
		t.Errorf("unmount while in use: %v", err)
	}
	unix.Unmount(m.dir, unix.MNT_FORCE)
	for _, proc := range []*process{proc, child} {
		if got := proc.wait(); got != "ECONNABORTED" && got != "ENOTCONN" {
			t.Errorf("got %q", got)
		}
	}
	eventually(t, "nobody waits", func() bool { return m.store.waiters(p) == 0 })
}

// What stat shows is canonical, whatever the backing file has.
func TestCanonicalAttributes(t *testing.T) {
	m := newMounted(t)
	p := m.store.add(t, "attributes", tree{"dir/run": script("x"), "dir/data": "12345", "dir/link": "->data"})
	os.Chmod(filepath.Join(m.store.dir, p.String(), "dir/data"), 0o640)
	cmd := exec.Command("stat", "-c", "%n %a %u:%g %h %s %Y %F", "dir", "dir/run", "dir/data", "dir/link")
	cmd.Dir = m.path(p)
	want := `dir 555 0:0 1 0 1 directory
dir/run 555 0:0 1 17 1 regular file
dir/data 444 0:0 1 5 1 regular file
dir/link 777 0:0 1 4 1 symbolic link`
	if got := start(t, cmd).wait(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Once everything was looked at, the kernel answers alone.
func TestWarmPassSendsNoRequest(t *testing.T) {
	m := newMounted(t)
	contents := tree{"bin/hello": script("hello"), "link": "->include/0/0.h", "empty/": ""}
	for i := range 20 {
		for j := range 20 {
			contents[fmt.Sprintf("include/%d/%d.h", i, j)] = strings.Repeat("#define X 1\n", j*50)
		}
	}
	p := m.store.add(t, "warm", contents)
	single := m.store.add(t, "single", tree{"": script("single")})
	at := m.path(p)
	for _, c := range []struct {
		name string
		cmd  []string
	}{
		{"stat", []string{"stat", "-L", at, at + "/link", at + "/bin/hello", m.path(single)}},
		{"open and read", []string{"cat", at + "/include/3/19.h", m.path(single), at + "/link"}},
		{"exec of a child", []string{"/bin/sh", "-c", at + "/bin/hello"}},
		{"exec of a single file", []string{"/bin/sh", "-c", m.path(single)}},
		{"names that are not there", []string{"/bin/sh", "-c", "for i in 1 2 3; do test -e " + at + "/absent/$i || test -e " + at + "/include/no$i; done; true"}},
		{"grep -r", []string{"grep", "-r", "nothing like this", at}},
		{"find", []string{"find", at, "-type", "f", "-size", "+1k"}},
		{"ls -lR", []string{"ls", "-lR", at}},
		{"tar", []string{"/bin/sh", "-c", "tar cf - -C " + at + " . | wc -c"}},
		{"readlink and realpath", []string{"realpath", at + "/link"}},
		{"cp", []string{"/bin/sh", "-c", "cp -r " + at + " " + t.TempDir() + "/$$"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.warmPass(t, func() string { return start(t, exec.Command(c.cmd[0], c.cmd[1:]...)).wait() })
		})
	}
	t.Run("g++ -E", func(t *testing.T) {
		gcc, err := exec.LookPath("g++")
		if err != nil {
			t.Skip("no g++")
		}
		src := filepath.Join(t.TempDir(), "a.cc")
		os.WriteFile(src, []byte("#include <7/19.h>\n#include <9/3.h>\n"), 0o644)
		m.warmPass(t, func() string {
			return start(t, exec.Command(gcc, "-E", "-o", "/dev/null", "-I", at+"/absent", "-I", at+"/empty", "-I", at+"/include", src)).wait()
		})
	})
}

// warmPass does something twice; the second time must print the same and send
// nothing. Somebody else on the machine may drop the caches in between, but not
// every time.
func (m *mounted) warmPass(t *testing.T, run func() string) {
	t.Helper()
	var sent map[string]int
	for range 5 {
		first := run()
		m.count.take()
		second := run()
		sent = m.count.take()
		if first != second {
			t.Fatalf("the second pass printed something else:\n%s\n%s", first, second)
		}
		if len(sent) == 0 {
			return
		}
	}
	t.Errorf("the second pass sent %v", sent)
}
