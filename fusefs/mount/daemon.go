package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
)

const (
	// inheritedEnv tells a process that Run started it. Its value is the directory.
	inheritedEnv = "LARDER_MOUNT_DAEMON"
	inheritedFd  = 3
)

// Daemon is the process that serves, as it sees the one outside. Methods are
// called in the order Mount, Serving.
type Daemon struct {
	dir    string
	conn   *conn
	device chan received
	ctx    context.Context
}

type received struct {
	file *os.File
	err  error
}

// Inherited returns nil unless Run started this process to be the daemon. Call
// it once, early in main: descriptor 3 must not be used for anything else yet.
func Inherited() (*Daemon, error) {
	dir, ok := os.LookupEnv(inheritedEnv)
	if !ok {
		return nil, nil
	}
	os.Unsetenv(inheritedEnv) // our own children are not daemons
	c, err := newConn(os.NewFile(inheritedFd, "socket"))
	if err != nil {
		return nil, fmt.Errorf("%s is set, but nobody is at descriptor %d: %w", inheritedEnv, inheritedFd, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &Daemon{dir: dir, conn: c, device: make(chan received, 1), ctx: ctx}
	go d.listen(cancel) // ends when the process outside does, or tells us to end
	return d, nil
}

// Dir is the mount point, absolute and without symlinks. Here it is the plain
// directory underneath.
func (d *Daemon) Dir() string { return d.dir }

// Context ends when the daemon is to end: it was told to, or the process
// outside has died.
func (d *Daemon) Context() context.Context { return d.ctx }

func (d *Daemon) listen(stop context.CancelFunc) {
	defer stop()
	defer close(d.device)
	for {
		m, file, err := d.conn.receive()
		if err != nil {
			return
		}
		switch m {
		case msgDevice:
			d.device <- received{file: file}
		case msgRefused:
			d.device <- received{err: errors.New("it could not be mounted")}
		case msgStop:
			return
		}
	}
}

// Mount asks the process outside to mount and returns the /dev/fuse descriptor.
// Call it when the store is open and nothing can fail any more.
func (d *Daemon) Mount() (*os.File, error) {
	if err := d.conn.send(msgMount, nil); err != nil {
		return nil, fmt.Errorf("mount %s: %w", d.dir, err)
	}
	r, ok := <-d.device
	switch {
	case !ok:
		return nil, fmt.Errorf("mount %s: %w", d.dir, context.Canceled)
	case r.err != nil:
		return nil, fmt.Errorf("mount %s: %w", d.dir, r.err)
	case r.file == nil:
		return nil, fmt.Errorf("mount %s: no descriptor came", d.dir)
	}
	return r.file, nil
}

// Serving says that the first message was answered: the mount can be used.
func (d *Daemon) Serving() error { return d.conn.send(msgServing, nil) }
