package control

import (
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"larder/store"
)

// maxConnections is how many connections a user may have at a time, other than the owner and root. Every user can connect
// where some are allowed, and each connection costs the daemon a descriptor that builds and the mount need.
const maxConnections = 64

// visitors is a listener that knows who comes, and closes the connections of who has too many.
type visitors struct {
	net.Listener

	mu    sync.Mutex // guards count
	count map[uint32]int
}

func newVisitors(l net.Listener) *visitors { return &visitors{Listener: l, count: map[uint32]int{}} }

// Accept implements net.Listener.
func (v *visitors) Accept() (net.Conn, error) {
	for {
		c, err := v.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p := peerOf(c)
		if v.admit(p) {
			return &visitor{Conn: c, peer: p, left: sync.OnceFunc(func() { v.leave(p) })}, nil
		}
		c.Close()
	}
}

func (p peer) isOwner() bool {
	return p.err == nil && (p.caller.UID == 0 || int(p.caller.UID) == os.Geteuid())
}

func (v *visitors) admit(p peer) bool {
	if p.isOwner() {
		return true
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.count[p.caller.UID] >= maxConnections {
		return false
	}
	v.count[p.caller.UID]++
	return true
}

func (v *visitors) leave(p peer) {
	if p.isOwner() {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.count[p.caller.UID]--; v.count[p.caller.UID] == 0 {
		delete(v.count, p.caller.UID)
	}
}

// visitor is a connection and who made it.
type visitor struct {
	net.Conn
	peer peer
	left func()
}

// Close implements net.Conn.
func (v *visitor) Close() error {
	defer v.left()
	return v.Conn.Close()
}

// peerOf asks the kernel who is at the other end of a connection.
func peerOf(c net.Conn) (p peer) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		p.err = fmt.Errorf("not a unix socket but %T", c)
		return p
	}
	raw, err := u.SyscallConn()
	if err != nil {
		p.err = err
		return p
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err == nil {
		err = failed
	}
	if err != nil {
		p.err = err
		return p
	}
	p.caller = store.Caller{UID: cred.Uid, GID: cred.Gid, PID: uint32(max(cred.Pid, 0))}
	return p
}
