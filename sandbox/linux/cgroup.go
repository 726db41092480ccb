package linux

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Builds that ask for it get a control group below base:
//
//	base                      delegated to this program, see cgroups(7) and systemd's Delegate=
//	├─ larder-daemon          where this program's own processes go, if they were in base: a group that gives controllers
//	│                         to others must have no processes
//	└─ larder-build-PID-N     the limits and the counters; locked (flock) as long as it is in use
//	   └─ build               the processes. A builder that mounts cgroup2 in namespaces of its own sees from here down, and so not
//	                          its limits, which the calling user's builder could change
const (
	daemonGroup = "larder-daemon"
	buildPrefix = "larder-build-"
	innerGroup  = "build"
)

var errNoCgroup = errors.New("there is no control group (version 2) that is delegated to this program: " +
	"run it as a systemd service with Delegate=yes, or name a group in the setting cgroup-dir")

// cgroups is where builds get their control groups. Its methods may be called concurrently.
type cgroups struct {
	named string // Options.Cgroup
	mkdir func(string) error

	mu   sync.Mutex // guards what follows, and changes of base itself
	base string     // "" until it is needed
	next int
}

func newCgroups(named string) *cgroups {
	return &cgroups{named: named, mkdir: func(dir string) error { return os.Mkdir(dir, 0o755) }}
}

// placeLocked finds base, and takes away what processes that are gone left there.
func (g *cgroups) placeLocked() error {
	if g.base != "" {
		return nil
	}
	base := g.named
	if base == "" {
		own, err := ownCgroup("/proc/self")
		if err != nil {
			return err
		}
		if base, err = delegatedCgroup(own); err != nil {
			return err
		}
	}
	if err := checkCgroup2(base); err != nil {
		return err
	}
	sweepCgroups(base)
	g.base = base
	return nil
}

// ownCgroup is the directory of this process's group of version 2.
func ownCgroup(proc string) (string, error) {
	groups, err := os.ReadFile(proc + "/cgroup")
	if err != nil {
		return "", err
	}
	mounts, err := os.ReadFile(proc + "/mountinfo")
	if err != nil {
		return "", err
	}
	own := ""
	for line := range strings.Lines(string(groups)) {
		if p, ok := strings.CutPrefix(line, "0::"); ok {
			own = strings.TrimSuffix(p, "\n")
		}
	}
	for line := range strings.Lines(string(mounts)) {
		// … root mountpoint options [optional]… - type …, proc_pid_mountinfo(5)
		place, kind, _ := strings.Cut(line, " - ")
		fields := strings.Fields(place)
		if len(fields) < 5 || !strings.HasPrefix(kind, "cgroup2 ") {
			continue
		}
		below, err := filepath.Rel(unescape(fields[3]), own)
		if own == "" || strings.HasPrefix(own, "/..") || err != nil || below == ".." || strings.HasPrefix(below, "../") {
			continue
		}
		return filepath.Join(unescape(fields[4]), below), nil
	}
	return "", errNoCgroup
}

// unescape undoes what the kernel does to blanks and the like in mountinfo.
func unescape(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out = append(out, byte(n))
				i += 3
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

// delegatedCgroup is own or the group above it (systemd's DelegateSubgroup=, or our own doing), if systemd says that it is ours.
func delegatedCgroup(own string) (string, error) {
	for _, dir := range []string{own, filepath.Dir(own)} {
		for _, name := range []string{"user.delegate", "trusted.delegate"} {
			var value [8]byte
			n, err := unix.Getxattr(dir, name, value[:])
			if err == nil && string(value[:n]) == "1" && unix.Access(dir, unix.W_OK) == nil {
				return dir, nil
			}
		}
	}
	return "", errNoCgroup
}

func checkCgroup2(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if st.Type != unix.CGROUP2_SUPER_MAGIC {
		return fmt.Errorf("%s is no control group of version 2", dir)
	}
	return nil
}

// sweepCgroups removes groups that nobody holds. Failures are no matter: they are empty directories.
func sweepCgroups(base string) {
	left, _ := filepath.Glob(filepath.Join(base, buildPrefix+"*"))
	for _, dir := range left {
		lock, err := lockCgroup(dir)
		if err != nil {
			continue
		}
		(&cgroup{dir: dir, lock: lock}).remove()
	}
}

func lockCgroup(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// enableLocked makes base give a controller to the groups in it.
func (g *cgroups) enableLocked(controller string) error {
	enabled := func(file string) (bool, error) {
		text, err := os.ReadFile(filepath.Join(g.base, file))
		return slices.Contains(strings.Fields(string(text)), controller), err
	}
	control := "cgroup.subtree_control"
	if on, err := enabled(control); on || err != nil {
		return err
	}
	there, err := enabled("cgroup.controllers")
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("the control group %s has no controller %q (see cgroup.controllers in it)", g.base, controller)
	}
	err = writeControl(g.base, control, "+"+controller)
	if errors.Is(err, unix.EBUSY) {
		if err := g.vacateLocked(); err != nil {
			return err
		}
		err = writeControl(g.base, control, "+"+controller)
	}
	return err
}

// vacateLocked moves the processes that are in base into a group of their own.
func (g *cgroups) vacateLocked() error {
	dir := filepath.Join(g.base, daemonGroup)
	if err := g.mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// They may start others meanwhile.
	for range 100 {
		text, err := os.ReadFile(filepath.Join(g.base, "cgroup.procs"))
		if err != nil || len(bytes.TrimSpace(text)) == 0 {
			return err
		}
		for _, pid := range strings.Fields(string(text)) {
			if err := writeControl(dir, "cgroup.procs", pid); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	return fmt.Errorf("the control group %s does not become empty", g.base)
}

func writeControl(dir, file, text string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
