package mount

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// Attach mounts a file system that nobody serves yet and returns its /dev/fuse
// descriptor. Who uses the mount waits until the descriptor is served; when the
// last copy of it is closed, everybody gets an error. Dir is a clean absolute
// path without symlinks. MaxRead is the largest READ in bytes. Root mounts by
// itself, others by fusermount3.
func Attach(dir string, allowOther bool, maxRead int) (*os.File, error) {
	if os.Geteuid() == 0 {
		return attachDirect(dir, allowOther, maxRead)
	}
	return attachHelper(dir, allowOther, maxRead)
}

func attachDirect(dir string, allowOther bool, maxRead int) (*os.File, error) {
	dev, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("%w (is the kernel module fuse loaded?)", err)
	}
	// See mount.fuse3(8) for the options, fs/fuse/inode.c for those of the kernel.
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,max_read=%d,default_permissions",
		dev.Fd(), os.Geteuid(), os.Getegid(), maxRead)
	if allowOther {
		options += ",allow_other"
	}
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("larder", dir, fsType, flags, options); err != nil {
		dev.Close()
		return nil, &os.PathError{Op: "mount", Path: dir, Err: err}
	}
	return dev, nil
}

// attachHelper lets the setuid program of libfuse mount. It gives the descriptor
// back over the socket whose number is in _FUSE_COMMFD.
func attachHelper(dir string, allowOther bool, maxRead int) (*os.File, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	defer theirs.Close()
	options := fmt.Sprintf("ro,nosuid,nodev,fsname=larder,subtype=larder,default_permissions,max_read=%d", maxRead)
	if allowOther {
		options += ",allow_other"
	}
	cmd, err := fusermount("-o", options, "--", dir)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.ExtraFiles = []*os.File{theirs}
	if err := runHelper(cmd); err != nil {
		return nil, err
	}
	theirs.Close()
	conn, err := newConn(ours)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_, dev, err := conn.receive()
	if err == nil && dev == nil {
		err = errors.New("no descriptor came")
	}
	if err != nil {
		return nil, fmt.Errorf("fusermount3 mounted %s, but did not hand it over: %w", dir, err)
	}
	return dev, nil
}

func fusermount(args ...string) (*exec.Cmd, error) {
	program, err := exec.LookPath("fusermount3")
	if err != nil {
		return nil, fmt.Errorf("a plain user needs fusermount3 to mount (package fuse3): %w", err)
	}
	return exec.Command(program, args...), nil
}

// runHelper runs fusermount3; its own message is the error.
func runHelper(cmd *exec.Cmd) error {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		if text := strings.TrimSpace(stderr.String()); text != "" {
			return fmt.Errorf("%s (%w)", text, err)
		}
		return fmt.Errorf("fusermount3: %w", err)
	}
	return nil
}
