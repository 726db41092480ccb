package linux

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// child waits for its handover, in namespaces of its own.
type child struct {
	process  *os.Process
	pidfd    int
	user     bool // has a user namespace of its own
	handover *net.UnixConn
}

// namespaces are those that a child for req starts in. The mount namespace comes later, so that it has the mounts
// of the moment when the build starts, and that of control groups, whose root is the group that it is made in.
func namespaces(req request) uintptr {
	if req.NoChroot {
		if maySetUpNamespaces() {
			return unix.CLONE_NEWPID // users of the host are what they are, for the builder too
		}
		return unix.CLONE_NEWPID | unix.CLONE_NEWUSER
	}
	flags := uintptr(unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS)
	if !req.Network {
		flags |= unix.CLONE_NEWNET
	}
	return flags
}

// newChild makes a child for req, or one like it, in a control group, if it is given.
func newChild(req request, cgroup *os.File) (*child, error) {
	handover, theirs, err := socketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, setupError(sandbox.StageLaunch, "", "", err)
	}
	defer theirs.Close()
	flags := namespaces(req)
	c := &child{handover: handover, user: flags&unix.CLONE_NEWUSER != 0}
	c.process, c.pidfd, err = clone(flags, cgroup, theirs)
	if err != nil {
		handover.Close()
		if cgroup != nil {
			return nil, setupError(sandbox.StageCgroup, "clone", cgroup.Name(), err)
		}
		return nil, setupError(sandbox.StageNamespaces, "clone", "", err)
	}
	return c, nil
}

// mapIDs makes the builder's ids, and no others, exist in the child's user namespace, if it has one of its own.
func (c *child) mapIDs(req request) error {
	if !c.user {
		return nil
	}
	pid, err := c.hostPID()
	if err != nil {
		return setupError(sandbox.StageNamespaces, "", "", err)
	}
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	write := func(file, text string) error {
		return setupError(sandbox.StageNamespaces, "write", dir+file, os.WriteFile(dir+file, []byte(text), 0))
	}
	count := max(1, req.UIDCount)
	if err := write("uid_map", fmt.Sprintf("%d %d %d\n", req.UID, req.HostUID, count)); err != nil {
		return err
	}
	gids := fmt.Sprintf("%d %d %d\n", req.GID, req.HostGID, count)
	for _, g := range supplementary(req.Groups, req.HostGID, req.NoChroot) {
		gids += fmt.Sprintf("%d %d 1\n", g.inside, g.outside)
	}
	if err := write("gid_map", gids); err == nil || len(req.Groups) > 0 {
		return err
	}
	// Without privileges a group can be mapped only once setgroups(2) is out of the question: user_namespaces(7).
	if err := write("setgroups", "deny"); err != nil {
		return err
	}
	return write("gid_map", gids)
}

// hostPID is the child's process id as the mounted /proc has it. That is the daemon's process namespace, in which the id
// that clone(2) gave to the launcher means another process, or none.
func (c *child) hostPID() (int, error) {
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(c.pidfd))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(info) {
		if value, ok := bytes.CutPrefix(line, []byte("Pid:")); ok {
			pid, err := strconv.Atoi(string(bytes.TrimSpace(value)))
			if err == nil && pid <= 0 {
				err = errors.New("the child is gone")
			}
			return pid, err
		}
	}
	return 0, errors.New("the kernel tells no process id for a pidfd")
}

func (c *child) close() {
	c.handover.Close()
	if c.pidfd >= 0 {
		unix.Close(c.pidfd)
	}
}

// discard ends a child that never got its handover.
func (c *child) discard() {
	_ = c.process.Kill()
	_, _ = c.process.Wait()
	c.close()
}
