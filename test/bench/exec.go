package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

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
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(stderr.String())
		if len(text) > 2000 {
			text = "…" + text[len(text)-2000:]
		}
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text)
	}
	return strings.TrimSpace(stdout.String()), nil
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
