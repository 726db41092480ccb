package linux_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// builtins are those of this test binary.
var builtins = []sandbox.Builtin{
	{Name: "threads", Run: showThreads},
	{Name: "view", Run: showView},
	{Name: "nothing", Run: func([]byte) error { return nil }},
	{Name: "fail", Run: func(input []byte) error { return fmt.Errorf("as told: %s", input) }},
	{Name: "panic", Run: func([]byte) error { panic("in a builtin") }},
}

func builtinSpec(t testing.TB, name, input string) *sandbox.Spec {
	s := newSpec(t, "")
	s.Builder, s.Args, s.Env = "", nil, nil
	s.Builtin, s.BuiltinInput = name, []byte(input)
	return s
}

// showThreads prints what the kernel knows about each thread of this process, while there are several.
func showThreads([]byte) error {
	const several = 8
	var started, done sync.WaitGroup
	started.Add(several)
	done.Add(1)
	for range several {
		go func() {
			// A blocking system call needs a thread of its own.
			var pipe [2]int
			if err := unix.Pipe(pipe[:]); err != nil {
				panic(err)
			}
			go func() {
				done.Wait()
				unix.Close(pipe[1])
			}()
			started.Done()
			_, _ = unix.Read(pipe[0], make([]byte, 1))
		}()
	}
	started.Wait()
	defer done.Done()
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		return err
	}
	if len(tasks) < several {
		return fmt.Errorf("%d threads", len(tasks))
	}
	for _, status := range tasks {
		text, err := os.ReadFile(status)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			switch name, _, _ := strings.Cut(line, ":"); name {
			case "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "SigBlk":
				fmt.Print(line)
			}
		}
	}
	return nil
}

// TestBuiltinThreads: every thread of a builtin has given up what a builder has not.
func TestBuiltinThreads(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		counts := map[string]int{}
		for line := range strings.Lines(run(t, builtinSpec(t, "threads", ""))) {
			counts[strings.ReplaceAll(strings.TrimSpace(line), "\t", " ")]++
		}
		threads := counts["NoNewPrivs: 1"]
		if threads < 8 {
			t.Fatalf("%d threads: %v", threads, counts)
		}
		for _, want := range []string{
			"Uid: 1000 1000 1000 1000", "Gid: 100 100 100 100", "Seccomp: 2",
			"CapInh: 0000000000000000", "CapPrm: 0000000000000000", "CapEff: 0000000000000000", "CapBnd: 0000000000000000", "CapAmb: 0000000000000000",
		} {
			if counts[want] != threads {
				t.Errorf("%d of %d threads have %q", counts[want], threads, want)
			}
		}
		if t.Failed() {
			t.Log(counts)
		}
	})
}

// TestBuiltinWithoutChroot: where builders have the host's files, builtins have the rights of those.
func TestBuiltinWithoutChroot(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		s, _ := newHostSpec(t, false, "")
		s.Builder, s.Args, s.Env = "", nil, nil
		s.Builtin = "threads"
		got := run(t, s)
		threads := strings.Count(got, "NoNewPrivs:\t1")
		if threads < 8 || strings.Count(got, "CapEff:\t0000000000000000") != threads || strings.Count(got, "Seccomp:\t2") != threads ||
			strings.Count(got, fmt.Sprintf("Uid:\t%d\t", hostUID(s))) != threads {
			t.Errorf("%d threads:\n%s", threads, got)
		}
	})
}

// showView prints what a builtin finds.
func showView(input []byte) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	fmt.Printf("input %q\ndir %s\npid %d\nargs %q\nenvironment %q\n", input, dir, os.Getpid(), os.Args, os.Environ())
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		// The directory that is being read is open, too.
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(to, "/proc/") {
			fmt.Printf("descriptor %s %s\n", e.Name(), to)
		}
	}
	for _, dir := range []string{"/", "/build", "/nix/store"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			fmt.Println("entry", filepath.Join(dir, e.Name()))
		}
	}
	for _, path := range []string{"/etc/shadow", "/usr", "/lib64", "/root", "/proc/self/exe/..", "/proc/1/root/usr"} {
		if _, err := os.Lstat(path); err == nil {
			fmt.Println("sees", path)
		}
	}
	fmt.Println("root writable:", os.WriteFile("/new", nil, 0o644) == nil)
	fmt.Println("setuid:", os.WriteFile("/build/x", nil, 0o644) == nil && unix.Chmod("/build/x", 0o4755) == nil)
	fmt.Println("mount:", unix.Mount("tmpfs", "/build", "tmpfs", 0, "") == nil)
	return os.WriteFile("/nix/store/out", []byte("made\n"), 0o644)
}

// TestBuiltinView: a builtin finds what any builder finds, and neither the program's files nor an environment.
func TestBuiltinView(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		s := builtinSpec(t, "view", "\xff secret\x00")
		got := run(t, s)
		null := "descriptor 0 /dev/null\n"
		if !strings.Contains(got, null) {
			t.Errorf("standard input is not /dev/null: %s", got)
		}
		var kept strings.Builder
		for line := range strings.Lines(got) {
			// What the runtime opens for itself: an epoll instance and what wakes it. The terminal's name is not in sight.
			if strings.Contains(line, "anon_inode:") || strings.HasPrefix(line, "descriptor 1 ") || strings.HasPrefix(line, "descriptor 2 ") {
				continue
			}
			kept.WriteString(line)
		}
		want := `input "\xff secret\x00"
dir /build
pid 1
args ["larder-builtin"]
environment []
` + null + `entry /bin
entry /build
entry /dev
entry /etc
entry /nix
entry /proc
entry /tmp
root writable: false
setuid: false
mount: false
`
		if kept.String() != want {
			t.Errorf("got\n%s\nwant\n%s", kept.String(), want)
		}
		if made, err := os.ReadFile(filepath.Join(s.BuildStore, "out")); err != nil || string(made) != "made\n" {
			t.Errorf("output: %q, %v", made, err)
		}
		// The input is not left anywhere on disk.
		for _, dir := range []string{s.BuildDir, s.BuildStore} {
			must(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
				if err != nil || !info.Mode().IsRegular() {
					return err
				}
				text, err := os.ReadFile(path)
				if bytes.Contains(text, []byte("secret")) {
					t.Errorf("%s has the input", path)
				}
				return err
			}))
		}
	})
}

// TestBuiltinEnds: an error is a line of the log and exit status 1, like any builder's.
func TestBuiltinEnds(t *testing.T) {
	r := newRunner(t)
	for _, c := range []struct {
		name   string
		status int
		log    string
	}{
		{"fail", 1, "error: as told: x\n"},
		{"unknown", 1, "error: unsupported builtin builder 'unknown'\n"},
		{"panic", 2, "panic: in a builtin\n"},
	} {
		var log bytes.Buffer
		result, err := r.Run(deadline(t), builtinSpec(t, c.name, "x"), &log)
		if err != nil || result.ExitCode != c.status || !strings.HasPrefix(log.String(), c.log) {
			t.Errorf("%s: %v, %v, log %q", c.name, result, err, log.String())
		}
	}
	s := builtinSpec(t, "view", "")
	s.Builder = "/bin/sh"
	var setup *sandbox.SetupError
	if _, err := r.Run(deadline(t), s, &bytes.Buffer{}); !errors.As(err, &setup) || setup.Stage != sandbox.StageSpec {
		t.Errorf("a builtin and a program: %v", err)
	}
}

// TestBuiltinOfAReplacedProgram: after an upgrade the daemon's own program is not where it was.
func TestBuiltinOfAReplacedProgram(t *testing.T) {
	if program := os.Getenv("LARDER_TEST_REPLACED"); program != "" {
		must(t, os.Remove(program))
		must(t, os.WriteFile(program, []byte("#!/bin/false\n"), 0o755))
		run(t, builtinSpec(t, "nothing", ""))
		return
	}
	program := filepath.Join(t.TempDir(), "test")
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile(program, self, 0o755))
	cmd := exec.CommandContext(deadline(t), program, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "LARDER_TEST_REPLACED="+program)
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("%v\n%s", err, out)
	}
}
