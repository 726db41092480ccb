package linux

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// setUp is the set-up process's main program. It is process 1 of its process namespace, in a user namespace where it
// has setupCapabilities, and becomes the builder. It returns only with an error, which the daemon has heard too.
//
// Ids, capabilities, mount namespace, working directory and filters belong to a thread in Linux, so everything
// happens on one thread, the one that calls execve(2); that call ends the others. System calls that Go or libc
// would repeat in all threads (setuid and its like) are made raw.
func setUp() error {
	runtime.LockOSThread()
	unix.CloseOnExec(inheritedFD)
	socket, terminal, err := receiveHandover()
	if errors.Is(err, io.EOF) {
		return nil // a spare that was never needed
	}
	if err != nil {
		return err
	}
	return report(socket, func() error {
		j, err := readJob(socket)
		if err != nil {
			return setupError(sandbox.StageLaunch, "", "", err)
		}
		return become(j, socket, terminal)
	}())
}

// receiveHandover waits until the launcher says that the ids are mapped.
func receiveHandover() (socket *os.File, terminal int, err error) {
	var data [64]byte
	oob := make([]byte, unix.CmsgSpace(2*4))
	n, oobn, _, _, err := recvmsg(inheritedFD, data[:], oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, 0, os.NewSyscallError("recvmsg", err)
	}
	fds, err := parseRights(oob[:oobn])
	switch {
	case err == nil && n == 0:
		err = io.EOF // the launcher is gone
	case err == nil && len(fds) != 2:
		err = fmt.Errorf("%d descriptors at the handover", len(fds))
	}
	if err != nil {
		return nil, 0, err
	}
	return os.NewFile(uintptr(fds[0]), "job socket"), fds[1], nil
}

func recvmsg(fd int, p, oob []byte, flags int) (n, oobn, recvflags int, from unix.Sockaddr, err error) {
	for {
		n, oobn, recvflags, from, err = unix.Recvmsg(fd, p, oob, flags)
		if err != unix.EINTR {
			return
		}
	}
}

func readJob(r io.Reader) (*job, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	size := binary.LittleEndian.Uint64(head[:])
	if size > maxJob {
		return nil, fmt.Errorf("a job of %d bytes", size)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	return decodeJob(data)
}

func report(w io.Writer, err error) error {
	data, jsonErr := json.Marshal(newFailure(err))
	if jsonErr != nil {
		return jsonErr
	}
	_, writeErr := w.Write(data)
	return writeErr
}

// become sets everything up and turns this process into the builder.
func become(j *job, socket *os.File, terminal int) error {
	s := j.Spec
	unix.Umask(0o022)
	sources, err := enter(j)
	if err != nil {
		return err
	}
	var builtin *image
	if s.Builtin != "" {
		if builtin, err = openImage(); err != nil {
			return err
		}
	}
	if err := takeIDs(s); err != nil {
		return err
	}
	if !s.NoChroot {
		if err := enterRoot(j, sources); err != nil {
			return err
		}
	}
	if err := dropPrivileges(j); err != nil {
		return err
	}
	if err := connectStreams(terminal); err != nil {
		return err
	}
	dir := s.Dir
	if dir == "" {
		dir = s.InsideDir()
	}
	if err := unix.Chdir(dir); err != nil {
		return setupError(sandbox.StageExec, "chdir", dir, err)
	}
	if err := resetSignals(); err != nil {
		return err
	}
	if builtin != nil {
		if err := builtin.prepare(s); err != nil {
			return err
		}
	}
	if _, err := socket.Write([]byte{readyByte}); err != nil {
		return setupError(sandbox.StageLaunch, "write", "", err)
	}
	if builtin != nil {
		return setupError(sandbox.StageExec, "execve", builtin.path, builtin.exec())
	}
	return setupError(sandbox.StageExec, "execve", s.Builder, syscall.Exec(s.Builder, s.Args, s.Env))
}

// enter gives the namespaces what they need, and the mount namespace what the host has for it. Without chroot that is
// all there is to it; else the sources are returned.
func enter(j *job) (*sources, error) {
	if j.Spec.NoChroot {
		return nil, enterHost(j)
	}
	if err := nameHost(j.Spec); err != nil {
		return nil, err
	}
	if !j.Spec.Network {
		if err := raiseLoopback(); err != nil {
			return nil, err
		}
	}
	return openSources(j.Spec)
}

func nameHost(s *sandbox.Spec) error {
	host, domain := s.Hostname, s.Domainname
	if host == "" {
		host = "localhost"
	}
	if domain == "" {
		domain = "(none)"
	}
	if err := unix.Sethostname([]byte(host)); err != nil {
		return setupError(sandbox.StageNamespaces, "sethostname", "", err)
	}
	return setupError(sandbox.StageNamespaces, "setdomainname", "", unix.Setdomainname([]byte(domain)))
}

// raiseLoopback brings up lo, which has its addresses from birth.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return setupError(sandbox.StageNetwork, "socket", "", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return setupError(sandbox.StageNetwork, "", "", err)
	}
	lo.SetUint16(unix.IFF_UP)
	return setupError(sandbox.StageNetwork, "ioctl SIOCSIFFLAGS", "", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo))
}

// connectStreams gives the builder its standard streams, and closes everything else at execve(2).
func connectStreams(terminal int) error {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return setupError(sandbox.StageRoot, "open", "/dev/null", err)
	}
	for to, from := range []int{null, terminal, terminal} {
		if err := unix.Dup3(from, to, 0); err != nil {
			return setupError(sandbox.StagePrivileges, "dup3", "", err)
		}
	}
	return setupError(sandbox.StagePrivileges, "close_range", "", unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC))
}
