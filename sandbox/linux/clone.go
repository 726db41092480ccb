package linux

// #include "child.h"
import "C"

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// clone makes a child that performs a program: see child.c. It begins in the control group, if one is given, and inherits the
// socket handover.
//
// The child is a copy of this process. To start this program once more instead would take five times as long as all that the
// child has to do: see docs/decisions/0055.
func clone(flags uintptr, cgroup, handover *os.File) (process *os.Process, pidfd int, err error) {
	group := -1
	if cgroup != nil {
		group = int(cgroup.Fd())
	}
	var fd C.int
	pid := C.larder_child(C.uint64_t(flags), C.int(group), C.int(handover.Fd()), maxJob, &fd)
	if pid < 0 {
		return nil, -1, syscall.Errno(-pid)
	}
	process, err = os.FindProcess(int(pid))
	return process, int(fd), err
}

// openFiles is the limit of open files that this process would have without Go's runtime, which raises it for itself. Builders shall not
// see that: there are programs that close all descriptors that they could have, one by one.
func openFiles() (limit unix.Rlimit, known bool) {
	soft := uint64(C.larder_open_files())
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	limit.Cur = min(soft, limit.Max)
	return limit, err == nil && soft > 0
}
