package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// command runs a program and returns its output; a failure shows the end of its errors.
func (s *suite) command(name string, args ...string) (string, error) {
	return s.commandEnv(nil, name, args...)
}

func (s *suite) commandEnv(env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(s.ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := s.runWatched(cmd); err != nil {
		text := strings.TrimSpace(stderr.String())
		if len(text) > 2000 {
			text = "…" + text[len(text)-2000:]
		}
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text)
	}
	return strings.TrimSpace(stdout.String()), nil
}

// runWatched runs a program and notes the most memory that it has had. The kernel's own account at its end
// (ru_maxrss) begins with what this process had when it forked.
func (s *suite) runWatched(cmd *exec.Cmd) error {
	if !s.watch {
		return cmd.Run()
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			s.peak.Store(max(s.peak.Load(), highWater(cmd.Process.Pid)))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	err := cmd.Wait()
	close(done)
	<-watched
	return err
}

// highWater is the most memory that a process has had, in kB; 0 when it is gone.
func highWater(pid int) (kB int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if _, rest, found := strings.Cut(string(text), "VmHWM:"); found {
		fmt.Sscan(rest, &kB)
	}
	return kB
}

// timed makes a side of a program.
func (s *suite) timed(name string, args ...string) side {
	return side{work: func() error {
		_, err := s.command(name, args...)
		return err
	}}
}

// dir makes a fresh directory below the scratch directory.
func (s *suite) dir(pattern string) (string, error) { return os.MkdirTemp(s.scratch, pattern) }

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "?"
	}
	release, _, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	return release
}

func cpus() int { return runtime.NumCPU() }
