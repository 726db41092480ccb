package hook_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"larder/realiser/hook"
)

// script is a hook that a shell runs.
func script(t *testing.T, text string) *hook.Hook {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return &hook.Hook{Path: path, Dir: "/", Line: func(string) {}}
}

func TestOutputArgumentsAndEnvironment(t *testing.T) {
	t.Parallel()
	h := script(t, `echo "$1,$2,$WORD,$PWD"; echo to-stderr >&2; printf unfinished; read x || exit 0; exit 1`)
	h.Args, h.Env = []string{"a b", ""}, []string{"WORD=old", "WORD=new"}
	var lines []string
	h.Line = func(l string) { lines = append(lines, l) }
	if err := h.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a b,,new,/", "to-stderr", "unfinished"}; !slices.Equal(lines, want) {
		t.Errorf("it said %q, want %q", lines, want)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	var failure *hook.Failure
	if err := script(t, "exit 7").Run(t.Context()); !errors.As(err, &failure) || !strings.Contains(err.Error(), "failed with exit code 7") {
		t.Error(err)
	}
	if err := script(t, "kill -TERM $$").Run(t.Context()); !errors.As(err, &failure) || !strings.Contains(err.Error(), "signal 15 (terminated)") {
		t.Error(err)
	}
	missing := &hook.Hook{Path: "/does/not/exist", Line: func(string) {}}
	if err := missing.Run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// What a hook leaves in its process group dies with it; nothing waits for its output.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	h := script(t, "sleep 1000 & echo $!")
	var pid int
	h.Line = func(l string) { pid, _ = strconv.Atoi(l) }
	if err := h.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone(t, pid)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	h := script(t, "sleep 1000 & echo $!; wait")
	var pid int
	h.Line = func(l string) {
		pid, _ = strconv.Atoi(l)
		cancel(stopped)
	}
	if err := h.Run(ctx); !errors.Is(err, stopped) {
		t.Error(err)
	}
	gone(t, pid)
}

// A hook has no descriptor that is not its own.
func TestDescriptors(t *testing.T) {
	t.Parallel()
	f, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil { // as one that was inherited
		t.Fatal(err)
	}
	h := script(t, "exec ls -l /proc/self/fd")
	var lines []string
	h.Line = func(l string) { lines = append(lines, l) }
	if err := h.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	open := 0
	for _, l := range lines {
		if strings.Contains(l, "->") {
			open++
		}
	}
	if open != 4 { // three, and the directory that ls reads
		t.Errorf("it has these descriptors: %q", lines)
	}
}

func gone(t *testing.T, pid int) {
	t.Helper()
	if pid == 0 {
		t.Fatal("it did not say its number")
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(text), ") Z ") {
			return
		}
		if time.Now().After(end) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d is still there", pid)
		}
	}
}
