package linux_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"larder/sandbox"
	"larder/sandbox/linux"
)

// testCgroup is a control group of version 2 for a test, and the controllers that it has.
func testCgroup(t *testing.T) (dir string, controllers []string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make control groups")
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(mounts)) {
		place, kind, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(place); strings.HasPrefix(kind, "cgroup2 ") && len(fields) > 4 {
			dir = filepath.Join(fields[4], fmt.Sprintf("larder-test-%d-%s", os.Getpid(), t.Name()))
		}
	}
	if dir == "" {
		t.Skip("needs control groups of version 2")
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("needs to make control groups: %v", err)
	}
	t.Cleanup(func() { must(t, os.Remove(dir)) })
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	must(t, err)
	return dir, strings.Fields(string(text))
}

func newGroupRunner(t *testing.T, dir string) *linux.Runner {
	t.Helper()
	newRunner(t) // skips where builds cannot run at all
	r, err := linux.New(linux.Options{Cgroup: dir})
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

func TestCgroup(t *testing.T) {
	dir, controllers := testCgroup(t)
	r := newGroupRunner(t, dir)
	for _, noChroot := range []bool{false, true} {
		script := `
			grep ^0:: /proc/self/cgroup
			setsid sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo counted; exec sleep 1000' &
			wait`
		s := newSpec(t, script)
		want := lines("0::/", "counted")
		if noChroot {
			s, _ = newHostSpec(t, false, "")
			s.Env = []string{"PATH=/bin:/usr/bin"}
			s.Args = []string{"sh", "-c", script}
			want = ""
		}
		s.Cgroup.Use = true
		var log bytes.Buffer
		ctx := deadline(t)
		// The first line of the background process ends it all.
		done := writerFunc(func(p []byte) (int, error) {
			log.Write(p)
			if bytes.Contains(log.Bytes(), []byte("counted")) {
				return 0, io.ErrShortWrite
			}
			return len(p), nil
		})
		_, err := r.Run(ctx, s, done)
		if err != io.ErrShortWrite {
			t.Fatalf("%v, log %q", err, &log)
		}
		if got := sorted(log.String()); want != "" && got != sorted(want) {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
		if left, _ := filepath.Glob(dir + "/larder-build-*"); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
	// A process that nobody waits for counts, too.
	s := newSpec(t, `(setsid sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo counted' &) | cat`)
	s.Cgroup.Use = true
	result, err := r.Run(deadline(t), s, io.Discard)
	if err != nil || !result.Success() || result.CPUUser+result.CPUSystem < 20*time.Millisecond {
		t.Errorf("%v, %v, %+v", result, err, result)
	}
	for _, limit := range []struct {
		controller string
		cgroup     sandbox.Cgroup
	}{{"memory", sandbox.Cgroup{Memory: 32 << 20}}, {"pids", sandbox.Cgroup{Processes: 20}}, {"cpu", sandbox.Cgroup{CPU: 500}}} {
		if slices.Contains(controllers, limit.controller) {
			continue
		}
		s := newSpec(t, "true")
		s.Cgroup = limit.cgroup
		result, err := r.Run(deadline(t), s, io.Discard)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", limit.controller)) {
			t.Errorf("without a controller for it: %v, %v", result, err)
		}
	}
}

func sorted(text string) string {
	all := strings.Split(text, "\n")
	slices.Sort(all)
	return strings.TrimSpace(strings.Join(all, "\n"))
}

// TestCgroupKills: the message says which limit it was.
func TestCgroupKills(t *testing.T) {
	dir, controllers := testCgroup(t)
	for _, c := range []struct {
		controller, script, want string
		cgroup                   sandbox.Cgroup
	}{
		{"memory", "dd if=/dev/zero of=/dev/null bs=256M count=1", "killed: memory limit of 33554432 bytes", sandbox.Cgroup{Memory: 32 << 20}},
		{"pids", "for i in $(seq 100); do sleep 100 & done; wait", "killed: limit of 20 processes", sandbox.Cgroup{Processes: 20}},
	} {
		t.Run(c.controller, func(t *testing.T) {
			if !slices.Contains(controllers, c.controller) {
				t.Skipf("needs the controller %s in version 2; here are %q (a machine with control groups of version 1 has it there)", c.controller, controllers)
			}
			s := newSpec(t, c.script)
			s.Cgroup = c.cgroup
			result, err := newGroupRunner(t, dir).Run(deadline(t), s, io.Discard)
			if err != nil || result.String() != c.want {
				t.Errorf("%v, %v, want %s", result, err, c.want)
			}
		})
	}
}

// TestCgroupMissing: without control groups a build that asks for none of their limits goes without.
func TestCgroupMissing(t *testing.T) {
	dir := t.TempDir()
	r := newGroupRunner(t, dir)
	s := newSpec(t, "true")
	s.Cgroup.Processes = 10
	if _, err := r.Run(deadline(t), s, io.Discard); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a limit that cannot be kept: %v", err)
	}
	run(t, newSpec(t, "true"))
}

// TestCgroupDelegated: an ordinary user has control groups below one that was given to it.
func TestCgroupDelegated(t *testing.T) {
	if os.Geteuid() == 0 {
		dir, _ := testCgroup(t)
		own := filepath.Join(dir, "own")
		must(t, os.Mkdir(own, 0o755))
		t.Cleanup(func() { must(t, os.Remove(own)) })
		// What systemd does for Delegate=yes.
		for _, d := range []string{dir, own} {
			for _, f := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
				must(t, os.Chown(filepath.Join(d, f), unprivileged, unprivileged))
			}
			must(t, unix.Setxattr(d, "trusted.delegate", []byte("1"), 0))
		}
		must(t, unix.Setxattr(dir, "user.delegate", []byte("1"), 0))
		group, err := os.Open(own)
		must(t, err)
		defer group.Close()
		t.Run("user", func(t *testing.T) {
			asUser(t, func(cmd *exec.Cmd) {
				cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
				cmd.Env = append(cmd.Env, "LARDER_TEST_CGROUP="+dir)
			})
		})
		return
	}
	dir := os.Getenv("LARDER_TEST_CGROUP")
	if dir == "" {
		t.Skip("needs root to give a control group to a user")
	}
	// It is not named: the program is in a group below it.
	s := newSpec(t, "grep ^0:: /proc/self/cgroup; echo seen; sleep 1000")
	s.Cgroup.Use = true
	seen := false
	_, err := newGroupRunner(t, "").Run(deadline(t), s, writerFunc(func(p []byte) (int, error) {
		groups, _ := filepath.Glob(dir + "/larder-build-*/build")
		for _, g := range groups {
			procs, _ := os.ReadFile(g + "/cgroup.procs")
			seen = seen || len(procs) > 0
		}
		if bytes.Contains(p, []byte("seen")) {
			return 0, io.ErrShortWrite
		}
		return len(p), nil
	}))
	if err != io.ErrShortWrite || !seen {
		t.Errorf("in a group of its own: %t; %v", seen, err)
	}
}
