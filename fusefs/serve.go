package fusefs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// MaxRead is the largest READ, in bytes. Who mounts must give it as max_read.
const MaxRead = 1 << 20

// Serve answers the kernel on an open /dev/fuse that somebody has mounted with
// default_permissions, and takes dev over. Ready is called when the first
// message has been answered; from then on the mount can be used.
//
// It returns nil when the mount has gone. When ctx ends first it returns ctx's
// error; the connection lives until the process ends or somebody unmounts, and
// requests get ENOTCONN. In both cases f is closed when it returns, and calls
// Objects and Realiser no more.
func (f *FS) Serve(ctx context.Context, dev *os.File, ready func()) error {
	return f.serve(ctx, f, dev, ready)
}

// serve lets tests put something before the file system.
func (f *FS) serve(ctx context.Context, raw fuse.RawFileSystem, dev *os.File, ready func()) error {
	// The server closes its own descriptor; ours tells whether the connection lives.
	fd, err := unix.FcntlInt(dev.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("duplicate /dev/fuse: %w", err)
	}
	own, err := unix.FcntlInt(dev.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("duplicate /dev/fuse: %w", err)
	}
	dev.Close()
	f.dead = func() bool { return connectionDead(own) }

	server, err := fuse.NewServer(raw, fmt.Sprintf("/dev/fd/%d", fd), f.mountOptions())
	if err != nil {
		unix.Close(own)
		return fmt.Errorf("serve /dev/fuse: %w", err)
	}
	ended := make(chan struct{})
	go func() { // ends with the connection, see above
		defer close(ended)
		server.Serve()
		unix.Close(own)
	}()
	if ready != nil {
		ready()
	}
	select {
	case <-ended:
		return f.Close()
	case <-ctx.Done():
		f.Close()
		return ctx.Err()
	}
}

// mountOptions are what is negotiated with the kernel in INIT. Why each is
// there: see the package's manual.
func (f *FS) mountOptions() *fuse.MountOptions {
	return &fuse.MountOptions{
		MaxWrite:                 MaxRead,
		MaxReadAhead:             MaxRead,
		MaxBackground:            64,
		EnableSymlinkCaching:     true,
		ExplicitDataCacheControl: true,
		DisableXAttrs:            true,
		DisableSplice:            true,
		ExtraCapabilities:        fuse.CAP_READDIRPLUS_AUTO | fuse.CAP_NO_OPENDIR_SUPPORT,
		Name:                     "larder",
		Logger:                   slog.NewLogLogger(f.log.Handler(), slog.LevelWarn),
	}
}

// connectionDead reports whether the mount was aborted or unmounted.
func connectionDead(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	_, err := unix.Poll(p, 0)
	return err != nil && !errors.Is(err, unix.EINTR) || p[0].Revents&(unix.POLLERR|unix.POLLNVAL) != 0
}
