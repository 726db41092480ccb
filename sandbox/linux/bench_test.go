package linux_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"larder/sandbox"
	"larder/sandbox/linux"
)

// BenchmarkLaunch is a whole sandboxed run of a program that does nothing.
func BenchmarkLaunch(b *testing.B) {
	r, s := newRunner(b), newTrue(b)
	for b.Loop() {
		launch(b, r, s)
	}
}

// BenchmarkLaunchParallel is the same, from as many goroutines as there are processors.
func BenchmarkLaunchParallel(b *testing.B) {
	r := newRunner(b)
	b.RunParallel(func(pb *testing.PB) {
		s := newTrue(b)
		for pb.Next() {
			launch(b, r, s)
		}
	})
}

// BenchmarkLaunchInputs has inputs in the store directory, as most builds.
func BenchmarkLaunchInputs(b *testing.B) {
	for _, n := range []int{50, 500, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, objects := newTrue(b), b.TempDir()
			r, err := linux.New(linux.Options{MountPoints: filepath.Join(objects, "points")})
			must(b, err)
			defer r.Close()
			for i := range n {
				source := filepath.Join(objects, fmt.Sprintf("%032d-input", i))
				must(b, os.Mkdir(source, 0o755))
				s.Mounts = append(s.Mounts, sandbox.Mount{Source: source, Target: "/nix/store/" + filepath.Base(source)})
			}
			launch(b, r, s) // makes the mount points
			for b.Loop() {
				launch(b, r, s)
			}
		})
	}
}

// BenchmarkBareCloneExec is the peer: the same program in the same namespaces, with nothing prepared in them.
func BenchmarkBareCloneExec(b *testing.B) {
	for b.Loop() {
		bare(b)
	}
}

// BenchmarkBareCloneExecParallel is the peer of BenchmarkLaunchParallel.
func BenchmarkBareCloneExecParallel(b *testing.B) {
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			bare(b)
		}
	})
}

func newTrue(b *testing.B) *sandbox.Spec {
	s := newSpec(b, "")
	s.Builder, s.Args = "/bin/busybox", []string{"true"}
	return s
}

func launch(b *testing.B, r *linux.Runner, s *sandbox.Spec) {
	if result, err := r.Run(b.Context(), s, io.Discard); err != nil || !result.Success() {
		b.Fatal(result, err)
	}
}

func bare(b *testing.B) {
	cmd := exec.Command(busybox, "true")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS |
			unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 100, HostID: os.Getegid(), Size: 1}},
	}
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkLaunchBuiltin is a run of a builtin that does nothing: this program is started and linked once more.
func BenchmarkLaunchBuiltin(b *testing.B) {
	r, s := newRunner(b), builtinSpec(b, "nothing", "")
	for b.Loop() {
		launch(b, r, s)
	}
}
