package mount

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// message is what the processes tell each other, one byte a packet; see the
// drawing in the package's manual.
type message byte

const (
	msgMount   message = 'm' // daemon: the store is open, mount it
	msgDevice  message = 'd' // outside: here is the descriptor
	msgRefused message = 'e' // outside: it could not be mounted; who started it knows why
	msgServing message = 's' // daemon: the mount can be used
	msgStop    message = 'x' // outside: end
)

// socketPair makes a pair of packet sockets, which keep messages apart and show
// the death of the other side as end of file.
func socketPair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}

// conn is one end. Sending and receiving may go on at the same time.
type conn struct{ *net.UnixConn }

// newConn takes over f.
func newConn(f *os.File) (*conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("not a local socket")
	}
	return &conn{u}, nil
}

// send sends a message, with a descriptor if file is not nil.
func (c *conn) send(m message, file *os.File) error {
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	_, _, err := c.WriteMsgUnix([]byte{byte(m)}, rights, nil)
	return err
}

// receive returns the next message, and the descriptor that came with it, if
// any. io.EOF: the other side has ended.
func (c *conn) receive() (message, *os.File, error) {
	var data [16]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := c.ReadMsgUnix(data[:], oob)
	if err != nil {
		return 0, nil, err
	}
	if n == 0 && oobn == 0 {
		return 0, nil, io.EOF
	}
	file, err := receivedFile(oob[:oobn])
	return message(data[0]), file, err
}

func receivedFile(oob []byte) (*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("unexpected control message: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("unexpected descriptors: %w", err)
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "/dev/fuse"), nil
}
