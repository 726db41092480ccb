package linux

// #include "child.h"
import "C"

import (
	"os"
	"syscall"
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
