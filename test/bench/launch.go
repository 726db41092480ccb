package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"larder/sandbox"
	"larder/sandbox/linux"
)

// launch compares a sandboxed run of a program that does nothing with the least
// that any sandbox costs: a clone into the same namespaces and an exec.
func (s *suite) launch() []contest {
	const runs = 100
	return []contest{{
		name: fmt.Sprintf("sandbox around `true`, %d times", runs),
		peer: "clone into the same namespaces + exec",
		aim:  "≤ 1.5",
		pair: func() (pair, error) {
			runner, err := linux.New(linux.Options{})
			if err != nil {
				return pair{}, err
			}
			s.onClose(func() { runner.Close() })
			spec, err := s.doNothing()
			if err != nil {
				return pair{}, err
			}
			ours := func() error {
				result, err := runner.Run(s.ctx, spec, io.Discard)
				if err == nil && !result.Success() {
					err = fmt.Errorf("%s", result)
				}
				return err
			}
			return pair{side{work: repeat(runs, ours)}, side{work: repeat(runs, bare)}}, nil
		},
	}}
}

func (s *suite) doNothing() (*sandbox.Spec, error) {
	dir, err := s.dir("sandbox.")
	spec := &sandbox.Spec{
		Builder: "/bin/busybox", Args: []string{"true"},
		StoreDir: "/nix/store", BuildStore: filepath.Join(dir, "store"), BuildDir: filepath.Join(dir, "build"),
		Mounts: []sandbox.Mount{{Source: busybox(), Target: "/bin/busybox"}},
		UID:    1000, GID: 100, HostUID: sandbox.CallingUser, HostGID: sandbox.CallingUser,
	}
	for _, d := range []string{spec.BuildStore, spec.BuildDir} {
		if err == nil {
			err = os.Mkdir(d, 0o755)
		}
	}
	return spec, err
}

func bare() error {
	cmd := exec.Command(busybox(), "true")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 100, HostID: os.Getegid(), Size: 1}},
	}
	return cmd.Run()
}
