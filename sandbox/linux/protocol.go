package linux

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// Three kinds of process take part:
//
//	daemon ──control──► launcher ──handover──► child, which becomes the builder
//	   └───────────────── job ──────────────────┘
//
//	control   SOCK_SEQPACKET, request and reply, one JSON object a packet. A start request carries two descriptors: the
//	          child's end of the job socket, and the builder's side of the pseudo-terminal; a third one is the control
//	          group's directory that the process is to start in.
//	handover  SOCK_SEQPACKET, one empty-bodied packet with the first two descriptors. It says "your ids are mapped, go".
//	job       SOCK_STREAM. Towards the child: the length in 8 bytes, then a program (program.encode, child.c). Back:
//	          readyByte just before execve(2); and if a call fails, its number in the program and its errno, in 4 bytes
//	          each. End of file after readyByte means that the builder runs.
const (
	launcherName = "larder-launcher"
	builtinName  = "larder-builtin"

	// inheritedFD is what a process finds open when it starts: a launcher and a child a socket (control, handover), a builtin
	// the file with its call.
	inheritedFD = 3

	readyByte = '!'
	// maxJob bounds a job; a Spec with 100,000 mounts has 20 MB.
	maxJob = 256 << 20
)

// request is what the daemon asks of the launcher.
type request struct {
	ID   uint64 `json:"id"`
	Kill bool   `json:"kill,omitempty"` // otherwise: start

	NoChroot bool  `json:"noChroot,omitempty"`
	Network  bool  `json:"network,omitempty"`
	UID      int   `json:"uid,omitempty"`
	GID      int   `json:"gid,omitempty"`
	HostUID  int   `json:"hostUid,omitempty"`
	HostGID  int   `json:"hostGid,omitempty"`
	UIDCount int   `json:"uidCount,omitempty"`
	Groups   []int `json:"groups,omitempty"`
}

// reply says that the process of a start request is gone, with all its descendants, or never was.
type reply struct {
	ID     uint64        `json:"id"`
	Fault  *failure      `json:"fault,omitempty"`
	Status uint32        `json:"status,omitempty"` // as wait4(2) gives it
	User   time.Duration `json:"user,omitempty"`
	System time.Duration `json:"system,omitempty"`
}

// job is all that a program depends on.
type job struct {
	Spec *sandbox.Spec
	// Filter is the seccomp program, in the machine's own byte order. Empty: none.
	Filter []byte
	// HostRoot: the builder has the user id of the host's root.
	HostRoot bool
	// PlainStore: without chroot, no overlay is tried.
	PlainStore bool
}

// failure is a sandbox.SetupError in transit.
type failure struct {
	Stage sandbox.Stage `json:"stage"`
	Op    string        `json:"op,omitempty"`
	Path  string        `json:"path,omitempty"`
	Errno syscall.Errno `json:"errno,omitempty"`
	Text  string        `json:"text,omitempty"` // where there is no Errno
}

func newFailure(err error) *failure {
	f := &failure{Stage: sandbox.StageLaunch}
	var setup *sandbox.SetupError
	if errors.As(err, &setup) {
		f.Stage, f.Op, f.Path, err = setup.Stage, setup.Op, setup.Path, setup.Err
	}
	if !errors.As(err, &f.Errno) {
		f.Text = err.Error()
	}
	return f
}

func (f *failure) err() *sandbox.SetupError {
	e := &sandbox.SetupError{Stage: f.Stage, Op: f.Op, Path: f.Path, Err: f.Errno}
	if f.Errno == 0 {
		e.Err = errors.New(f.Text)
	}
	return e
}

// setupError is what every step of the set-up returns: nil, or err with what was tried.
func setupError(stage sandbox.Stage, op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &sandbox.SetupError{Stage: stage, Op: op, Path: path, Err: err}
}

// send writes one packet to c with descriptors.
func send(c *net.UnixConn, message any, files ...*os.File) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	_, _, err = c.WriteMsgUnix(data, rights, nil)
	return err
}

// receive reads one packet into message, with at most three descriptors. io.EOF: the other side is gone.
func receive(c *net.UnixConn, message any) ([]*os.File, error) {
	data := make([]byte, 16<<10)
	oob := make([]byte, unix.CmsgSpace(3*4))
	n, oobn, flags, _, err := c.ReadMsgUnix(data, oob)
	if err != nil {
		return nil, err
	}
	fds, err := parseRights(oob[:oobn])
	if err != nil {
		return nil, err
	}
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		files[i] = os.NewFile(uintptr(fd), "passed")
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		closeAll(files)
		return nil, errors.New("packet too long")
	}
	if err := json.Unmarshal(data[:n], message); err != nil {
		closeAll(files)
		return nil, fmt.Errorf("packet: %w", err)
	}
	return files, nil
}

func parseRights(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var fds []int
	for i := range messages {
		more, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return nil, err
		}
		fds = append(fds, more...)
	}
	return fds, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// socketPair is a pair of connected sockets of a kind: one for this program, one to give away.
func socketPair(kind int) (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "socket")
	ours, err := unixConn(os.NewFile(uintptr(fds[0]), "socket"))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// unixConn takes over f, a socket.
func unixConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("%s is no unix socket", f.Name())
	}
	return conn, nil
}
