package sandbox_test

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"larder/sandbox"
)

func good() *sandbox.Spec {
	return &sandbox.Spec{
		Builder: "/bin/sh", Args: []string{"sh", "-c", "true"}, Env: []string{"PATH=/path-not-set", "EMPTY="},
		StoreDir: "/nix/store", BuildStore: "/var/build/store", BuildDir: "/var/build/tmp",
		Mounts: []sandbox.Mount{
			{Source: "/nix/store/x", Target: "/nix/store/x"}, {Source: "/bin/busybox", Target: "/bin/sh"}, {Source: "/dev/kvm", Target: "/dev/kvm"},
		},
		UID: 1000, GID: 100, HostUID: 30001, HostGID: sandbox.CallingUser,
	}
}

func TestValidate(t *testing.T) {
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	s := good()
	// Not used, and so not looked at.
	s.Mounts = append(s.Mounts, sandbox.Mount{Source: "/proc", Target: "/proc"})
	s.NoChroot, s.ObjectDir, s.Absent = true, "/o", []string{"out"}
	s.Mounts = append(s.Mounts, sandbox.Mount{Source: "/var", Target: "/var"})
	s.BuildDir = "/dev/shm/build"
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	mount := func(source, target string) func(*sandbox.Spec) {
		return func(s *sandbox.Spec) {
			s.Mounts = append(s.Mounts, sandbox.Mount{Source: source, Target: target})
		}
	}
	for _, c := range []struct {
		name   string
		change func(*sandbox.Spec)
		says   string // what the message must name
	}{
		{"no builder", func(s *sandbox.Spec) { s.Builder = "" }, "Builder"},
		{"relative builder", func(s *sandbox.Spec) { s.Builder = "sh" }, `"sh"`},
		{"NUL in builder", func(s *sandbox.Spec) { s.Builder = "/bin/\x00" }, "NUL"},
		{"unclean store directory", func(s *sandbox.Spec) { s.StoreDir = "/nix/../etc" }, "StoreDir"},
		{"store is /", func(s *sandbox.Spec) { s.StoreDir = "/" }, "StoreDir"},
		{"store in /proc", func(s *sandbox.Spec) { s.StoreDir = "/proc/store" }, "/proc/store"},
		{"store in the build directory", func(s *sandbox.Spec) { s.StoreDir = "/build/store" }, "/build/store"},
		{"build directory in the store", func(s *sandbox.Spec) { s.TmpDirInSandbox = "/nix/store/b" }, "/nix/store/b"},
		{"no build directory", func(s *sandbox.Spec) { s.BuildDir = "" }, "BuildDir"},
		{"one directory for both", func(s *sandbox.Spec) { s.BuildDir = s.BuildStore }, "BuildStore"},
		{"relative working directory", func(s *sandbox.Spec) { s.Dir = "x" }, "Dir"},
		{"no arguments", func(s *sandbox.Spec) { s.Args = nil }, "Args"},
		{"NUL in an argument", func(s *sandbox.Spec) { s.Args = []string{"a\x00b"} }, "argument"},
		{"NUL in the environment", func(s *sandbox.Spec) { s.Env = []string{"A=\x00"} }, "environment"},
		{"no variable", func(s *sandbox.Spec) { s.Env = []string{"A"} }, `"A"`},
		{"negative uid", func(s *sandbox.Spec) { s.UID = -1 }, "UID"},
		{"uid that means nothing", func(s *sandbox.Spec) { s.HostUID = 1<<32 - 1 }, "HostUID"},
		{"gid out of range", func(s *sandbox.Spec) { s.HostGID = -2 }, "HostGID"},
		{"group that means nothing", func(s *sandbox.Spec) { s.Groups = []int{7, -1} }, "Groups"},
		{"more groups than can be mapped", func(s *sandbox.Spec) { s.Groups = make([]int, 400) }, "400"},
		{"range of the calling user", func(s *sandbox.Spec) { s.UIDCount = 65536 }, "UIDCount"},
		{"range that ends nowhere", func(s *sandbox.Spec) { s.HostGID, s.UIDCount = 1<<32-100, 65536 }, "UIDCount"},
		{"range without chroot", func(s *sandbox.Spec) { s.HostGID, s.UIDCount, s.NoChroot, s.ObjectDir = 7, 65536, true, "/o" }, "UIDCount"},
		{"builtin and a program", func(s *sandbox.Spec) { s.Builtin = "fetchurl" }, `builtin ("fetchurl")`},
		{"no objects", func(s *sandbox.Spec) { s.NoChroot = true }, "ObjectDir"},
		{"build directory among the objects", func(s *sandbox.Spec) { s.NoChroot, s.ObjectDir = true, "/var" }, "/var/build/tmp"},
		{"path that is to be absent", func(s *sandbox.Spec) { s.NoChroot, s.ObjectDir, s.Absent = true, "/o", []string{"a/b"} }, `"a/b"`},
		{"build directory in the store, without chroot", func(s *sandbox.Spec) { s.NoChroot, s.ObjectDir, s.BuildDir = true, "/o", "/nix/store/b" }, "/nix/store/b"},
		{"negative memory", func(s *sandbox.Spec) { s.Cgroup.Memory = -1 }, "Memory"},
		{"long host name", func(s *sandbox.Spec) { s.Hostname = strings.Repeat("x", 65) }, "Hostname"},
		{"NUL in a size", func(s *sandbox.Spec) { s.DevShmSize = "1\x00" }, "DevShmSize"},
		{"relative source", mount("x", "/x"), "source"},
		{"target climbs", mount("/x", "/a/../../x"), "target"},
		{"target is /", mount("/x", "/"), `"/"`},
		{"target is the store", mount("/x", "/nix/store"), "/nix/store"},
		{"target above the store", mount("/x", "/nix"), "/nix"},
		{"target in /proc", mount("/x", "/proc/sys"), "/proc/sys"},
		{"target twice", mount("/x", "/bin/sh"), "/bin/sh"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := good()
			c.change(s)
			if err := s.Validate(); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v, want one line with %s", err, c.says)
			}
		})
	}
}

func TestSetupError(t *testing.T) {
	err := error(&sandbox.SetupError{Stage: sandbox.StageInput, Op: "open_tree", Path: "/x", Err: syscall.ENOENT})
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != "sandbox: input: open_tree /x: no such file or directory" {
		t.Fatal(err)
	}
	err = &sandbox.SetupError{Stage: sandbox.StageNamespaces, Op: "clone", Err: syscall.EPERM}
	if !strings.Contains(err.Error(), "apparmor_restrict_unprivileged_userns") {
		t.Fatalf("no hint: %v", err)
	}
	err = &sandbox.SetupError{Stage: sandbox.StageExec, Op: "execve", Path: "/bin/bash", Err: syscall.ENOENT}
	if !strings.Contains(err.Error(), "sandbox-paths") {
		t.Fatalf("no hint: %v", err)
	}
}

func TestResultString(t *testing.T) {
	for want, r := range map[string]sandbox.Result{
		"exit status 3": {ExitCode: 3}, "killed by signal 9 (killed)": {ExitCode: -1, Signal: syscall.SIGKILL},
	} {
		if r.String() != want || r.Success() {
			t.Errorf("got %q, want %q", &r, want)
		}
	}
	if !(&sandbox.Result{}).Success() {
		t.Error("status 0 is no success")
	}
}
