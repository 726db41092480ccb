package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// cgroup is the control group of one build.
type cgroup struct {
	dir    string
	lock   *os.File // dir
	inner  *os.File // the group of its processes
	limits sandbox.Cgroup
}

// open makes a group with limits. nil without an error: there is none to be had, and no need for one.
func (g *cgroups) open(limits sandbox.Cgroup) (*cgroup, error) {
	if !limits.Wanted() {
		return nil, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c, err := g.openLocked(limits)
	switch {
	case err == nil:
		return c, nil
	case !limits.Limited() && g.named == "":
		return nil, nil
	}
	return nil, setupError(sandbox.StageCgroup, "", "", err)
}

func (g *cgroups) openLocked(limits sandbox.Cgroup) (c *cgroup, err error) {
	if err := g.placeLocked(); err != nil {
		return nil, err
	}
	settings := limitFiles(limits)
	for _, s := range settings {
		if s.optional {
			continue
		}
		controller, _, _ := strings.Cut(s.file, ".")
		if err := g.enableLocked(controller); err != nil {
			return nil, err
		}
	}
	g.next++
	c = &cgroup{dir: filepath.Join(g.base, fmt.Sprintf("%s%d-%d", buildPrefix, os.Getpid(), g.next)), limits: limits}
	if err := g.mkdir(c.dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.remove()
		}
	}()
	if c.lock, err = lockCgroup(c.dir); err != nil {
		return nil, err
	}
	for _, s := range settings {
		err := writeControl(c.dir, s.file, s.value)
		if err != nil && !(s.optional && errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
	}
	inner := filepath.Join(c.dir, innerGroup)
	if err := g.mkdir(inner); err != nil {
		return nil, err
	}
	c.inner, err = os.Open(inner)
	return c, err
}

// own gives the builder's group to a range of users, who may divide it further.
func (c *cgroup) own(s *sandbox.Spec) error {
	if c == nil || s.UIDCount <= 1 {
		return nil
	}
	for _, file := range []string{"", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"} {
		if err := os.Chown(filepath.Join(c.inner.Name(), file), s.HostUID, s.HostGID); err != nil {
			return setupError(sandbox.StageCgroup, "chown", "", err)
		}
	}
	return nil
}

// cpuPeriod is the kernel's default, in microseconds.
const cpuPeriod = 100_000

type limitFile struct {
	file, value string
	optional    bool // not there in every kernel, or without swap
}

func limitFiles(l sandbox.Cgroup) (files []limitFile) {
	if l.Memory > 0 {
		files = append(files, limitFile{"memory.max", strconv.FormatInt(l.Memory, 10), false},
			limitFile{"memory.swap.max", "0", true}, limitFile{"memory.oom.group", "1", true})
	}
	if l.Processes > 0 {
		files = append(files, limitFile{"pids.max", strconv.FormatInt(l.Processes, 10), false})
	}
	if l.CPU > 0 {
		// Less than 1 ms is refused by the kernel.
		quota := max(l.CPU*(cpuPeriod/1000), 1000)
		files = append(files, limitFile{"cpu.max", fmt.Sprintf("%d %d", quota, cpuPeriod), false})
	}
	return files
}

// finish completes the result of a build that is over.
func (c *cgroup) finish(r *sandbox.Result) {
	if c == nil || r == nil {
		return
	}
	cpu := c.counters("cpu.stat")
	user, hasUser := cpu["user_usec"]
	system, hasSystem := cpu["system_usec"]
	if hasUser && hasSystem {
		r.CPUUser, r.CPUSystem = time.Duration(user)*time.Microsecond, time.Duration(system)*time.Microsecond
	}
	if r.Success() {
		return
	}
	switch {
	case c.limits.Memory > 0 && c.counters("memory.events")["oom_kill"] > 0:
		r.Limit = fmt.Sprintf("memory limit of %d bytes", c.limits.Memory)
	case c.limits.Processes > 0 && c.counters("pids.events")["max"] > 0:
		r.Limit = fmt.Sprintf("limit of %d processes", c.limits.Processes)
	}
}

// counters reads a file with a name and a number in each line.
func (c *cgroup) counters(file string) map[string]int64 {
	text, err := os.ReadFile(filepath.Join(c.dir, file))
	if err != nil {
		return nil
	}
	counters := make(map[string]int64)
	for line := range strings.Lines(string(text)) {
		name, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			counters[name] = n
		}
	}
	return counters
}

// removing bounds how long a group that still has processes is waited for. They are dead, but the kernel may have work with them.
const removing = 5 * time.Second

// remove kills what is left in the group, and removes it. If that does not work it is left to the sweep of a later run.
func (c *cgroup) remove() {
	if c == nil {
		return
	}
	if c.counters("cgroup.events")["populated"] > 0 {
		_ = writeControl(c.dir, "cgroup.kill", "1") // Linux 5.14
	}
	for end := time.Now().Add(removing); time.Now().Before(end); time.Sleep(time.Millisecond) {
		inner := unix.Rmdir(filepath.Join(c.dir, innerGroup))
		err := unix.Rmdir(c.dir)
		if inner != unix.EBUSY && err != unix.EBUSY {
			break
		}
	}
	if c.inner != nil {
		c.inner.Close()
	}
	if c.lock != nil {
		c.lock.Close()
	}
}
