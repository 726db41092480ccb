package linux

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"larder/sandbox"
)

// A directory with plain files stands for a control group with all controllers: what is written where can be seen, and no
// machine has to have them.

var groupFiles = []string{
	"memory.max", "memory.swap.max", "memory.oom.group", "memory.events", "pids.max", "pids.events", "cpu.max", "cpu.stat",
	"cgroup.procs", "cgroup.events", "cgroup.kill", "cgroup.subtree_control", "cgroup.controllers",
}

func fakeGroup(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, f := range groupFiles {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte("cpu memory pids\n"), 0o644)
}

func fakeCgroups(t *testing.T) *cgroups {
	t.Helper()
	g := &cgroups{base: filepath.Join(t.TempDir(), "base"), mkdir: fakeGroup}
	if err := fakeGroup(g.base); err != nil {
		t.Fatal(err)
	}
	return g
}

func fileText(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func put(t *testing.T, text string, path ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path...), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCgroupLimits(t *testing.T) {
	g := fakeCgroups(t)
	c, err := g.open(sandbox.Cgroup{Memory: 1 << 20, Processes: 50, CPU: 1500})
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"memory.max": "1048576", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "50", "cpu.max": "150000 100000",
	} {
		if got := fileText(t, c.dir, file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
		if got := fileText(t, c.inner.Name(), file); got != "" {
			t.Errorf("%s of the builder's own group is %q", file, got)
		}
	}
	// The last of them; a real one takes them all.
	if got := fileText(t, g.base, "cgroup.subtree_control"); got != "+cpu" {
		t.Errorf("controllers: %q", got)
	}

	put(t, "usage_usec 3500000\nuser_usec 2500000\nsystem_usec 1000000\nnr_periods 0\n", c.dir, "cpu.stat")
	result := func(exit int) *sandbox.Result {
		r := &sandbox.Result{ExitCode: exit}
		c.finish(r)
		if r.CPUUser != 2500*time.Millisecond || r.CPUSystem != time.Second {
			t.Errorf("processor time: %v and %v", r.CPUUser, r.CPUSystem)
		}
		return r
	}
	if r := result(1); r.Limit != "" || r.String() != "exit status 1" {
		t.Errorf("no limit was hit: %v", r)
	}
	put(t, "low 0\nmax 7\n", c.dir, "pids.events")
	if r := result(1); r.String() != "killed: limit of 50 processes" {
		t.Errorf("too many processes: %v", r)
	}
	put(t, "low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\n", c.dir, "memory.events")
	if r := result(-1); r.String() != "killed: memory limit of 1048576 bytes" {
		t.Errorf("too much memory: %v", r)
	}
	if r := result(0); r.Limit != "" {
		t.Errorf("it succeeded all the same: %v", r)
	}
}

func TestCgroupWithout(t *testing.T) {
	g := fakeCgroups(t)
	if c, err := g.open(sandbox.Cgroup{}); c != nil || err != nil {
		t.Errorf("nothing was asked for: %v, %v", c, err)
	}
	put(t, "cpu\n", g.base, "cgroup.controllers")
	_, err := g.open(sandbox.Cgroup{CPU: 1, Memory: 1})
	var setup *sandbox.SetupError
	if !errors.As(err, &setup) || setup.Stage != sandbox.StageCgroup || !strings.Contains(err.Error(), `"memory"`) {
		t.Errorf("no controller: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(g.base, buildPrefix+"*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	// A file that is not needed may be missing.
	g.mkdir = func(dir string) error {
		return errors.Join(fakeGroup(dir), os.Remove(filepath.Join(dir, "memory.swap.max")), os.Remove(filepath.Join(dir, "memory.oom.group")))
	}
	put(t, "cpu memory\n", g.base, "cgroup.controllers")
	if _, err := g.open(sandbox.Cgroup{Memory: 1}); err != nil {
		t.Error(err)
	}

	g = &cgroups{named: t.TempDir(), mkdir: fakeGroup}
	if _, err := g.open(sandbox.Cgroup{Use: true}); err == nil || !strings.Contains(err.Error(), g.named) {
		t.Errorf("the setting names no control group: %v", err)
	}
	t.Run("not delegated", func(t *testing.T) {
		dir := t.TempDir()
		if _, err := delegatedCgroup(filepath.Join(dir, "own")); !errors.Is(err, errNoCgroup) {
			t.Error(err)
		}
	})
}

func TestCgroupVacate(t *testing.T) {
	g := fakeCgroups(t)
	daemon := filepath.Join(g.base, daemonGroup)
	// Moving a process takes it away from where it was.
	put(t, "17\n", g.base, "cgroup.procs")
	g.mkdir = func(dir string) error {
		err := fakeGroup(dir)
		if err == nil {
			put(t, "", g.base, "cgroup.procs")
		}
		return err
	}
	if err := g.vacateLocked(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(daemon); err != nil {
		t.Error(err)
	}
	put(t, "17\n", g.base, "cgroup.procs")
	if err := g.vacateLocked(); err == nil {
		t.Error("a process that cannot be moved: no error")
	}
	if got := fileText(t, daemon, "cgroup.procs"); got != "17" {
		t.Errorf("moved: %q", got)
	}
}

func TestOwnCgroup(t *testing.T) {
	for _, c := range []struct{ name, cgroup, mountinfo, want string }{
		{"unified", "0::/system.slice/larder.service\n",
			"24 20 0:21 / /sys rw shared:7 - sysfs sysfs rw\n30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
			"/sys/fs/cgroup/system.slice/larder.service"},
		{"hybrid", "9:memory:/x\n0::/a\n", "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n35 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			"/sys/fs/cgroup/unified/a"},
		{"a part is mounted", "0::/pod/one/two\n", "30 24 0:26 /pod/one /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "/sys/fs/cgroup/two"},
		{"another part is mounted", "0::/pod/one\n", "30 24 0:26 /pod/two /sys/fs/cgroup rw - cgroup2 cgroup rw\n", ""},
		{"outside of the namespace", "0::/../../x\n", "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", ""},
		{"blanks", "0::/a b\n", "30 24 0:26 / /c\\040d rw - cgroup2 cgroup rw\n", "/c d/a b"},
		{"version 1", "9:memory:/x\n", "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", ""},
		{"garbage", "0::/\n", "x\n\n - cgroup2\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			proc := t.TempDir()
			put(t, c.cgroup, proc, "cgroup")
			put(t, c.mountinfo, proc, "mountinfo")
			got, err := ownCgroup(proc)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// A group that a killed program left goes, one that is in use stays.
func TestCgroupSweep(t *testing.T) {
	base := t.TempDir()
	for _, name := range []string{buildPrefix + "1-1/" + innerGroup, buildPrefix + "1-2/" + innerGroup, "other"} {
		if err := os.MkdirAll(filepath.Join(base, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := lockCgroup(filepath.Join(base, buildPrefix+"1-2"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	sweepCgroups(base)
	var left []string
	entries, err := os.ReadDir(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{buildPrefix + "1-2", "other"}; !slices.Equal(left, want) {
		t.Errorf("left %q, want %q", left, want)
	}
}
