package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// Options for Run. Dir and MaxRead are required.
type Options struct {
	Dir        string // mount point: a directory that exists
	AllowOther bool   // let other users in; a plain user needs user_allow_other in fuse.conf
	MaxRead    int    // bytes of the largest READ

	Args   []string // of the daemon, which is this program again; nil: os.Args[1:]
	Env    []string // of the daemon; nil: os.Environ()
	Stdout *os.File // of the daemon; nil: ours
	Stderr *os.File // likewise

	Ready func() // called once, when the mount can be used

	// Grace is how long users of the mount have to leave it when it is to end,
	// and then how long the daemon has to end; 0: 1 and 30 seconds.
	Grace     time.Duration
	StopGrace time.Duration

	Logger *slog.Logger // nil: nothing is logged
}

// DaemonError says that the daemon ended by itself, and not well. It has said
// why on its own standard error, or the system log knows.
type DaemonError struct {
	Dir string
	Err error // *exec.ExitError
}

func (e *DaemonError) Error() string {
	return fmt.Sprintf("the daemon of the store at %s ended: %v", e.Dir, e.Err)
}
func (e *DaemonError) Unwrap() error { return e.Err }

// Run starts a daemon, mounts for it, and waits. It returns when the mount and
// the daemon have both gone: nil if that was wanted, because ctx ended or somebody
// unmounted; a *DaemonError if the daemon ended by itself. It must run outside,
// where the mount is to be seen.
func Run(ctx context.Context, o Options) error {
	dir, err := prepare(o.Dir)
	if err != nil {
		return err
	}
	o.Dir = dir
	if o.Grace == 0 {
		o.Grace = time.Second
	}
	if o.StopGrace == 0 {
		o.StopGrace = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	s, err := start(o)
	if err != nil {
		return err
	}
	return s.run(ctx)
}

// prepare finds the real mount point and makes sure that nothing is in the way,
// before the daemon gets its copy of the mounts.
func prepare(dir string) (string, error) {
	if err := CleanDead(dir); err != nil {
		return "", err
	}
	dir, err := realDir(dir)
	if err != nil {
		return "", err
	}
	st, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if !st.IsDir() {
		return "", &os.PathError{Op: "mount", Path: dir, Err: unix.ENOTDIR}
	}
	return dir, nil
}

// supervisor is the process outside, after the daemon was started.
type supervisor struct {
	o      Options
	conn   *conn
	daemon *exec.Cmd
	ended  chan struct{} // closed when daemon has been waited for
	result error         // of that
}

func start(o Options) (*supervisor, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	c, err := newConn(ours)
	if err != nil {
		return nil, err
	}
	s := &supervisor{o: o, conn: c, daemon: daemonCommand(o, theirs), ended: make(chan struct{})}
	if err := s.daemon.Start(); err != nil {
		c.Close()
		return nil, startError(err)
	}
	go func() { // ends with the daemon, which run waits for
		s.result = s.daemon.Wait()
		close(s.ended)
	}()
	return s, nil
}

func (s *supervisor) run(ctx context.Context) error {
	defer s.conn.Close()
	messages := make(chan message)
	go s.listen(messages) // ends with the daemon

	var gone <-chan struct{}
	mounted, wanted := false, false
	for !wanted {
		select {
		case m, ok := <-messages:
			switch {
			case !ok:
				messages = nil // the daemon is ending
			case m == msgMount && !mounted:
				watch, stop, err := s.mount()
				if err != nil {
					s.conn.send(msgRefused, nil)
					s.stop()
					return err
				}
				defer stop()
				mounted, gone = true, watch
			case m == msgServing:
				s.readAhead()
				if s.o.Ready != nil {
					s.o.Ready()
				}
			}
		case <-s.ended:
			if mounted {
				s.detach()
			}
			return s.verdict()
		case <-gone:
			mounted, wanted = false, true
		case <-ctx.Done():
			wanted = true
		}
	}
	return s.shutdown(mounted)
}

func (s *supervisor) listen(messages chan<- message) {
	defer close(messages)
	for {
		m, file, err := s.conn.receive()
		if file != nil {
			file.Close()
		}
		if err != nil {
			return
		}
		select {
		case messages <- m:
		case <-s.ended:
			return
		}
	}
}

// mount mounts and hands the device over. The channel is closed when the mount
// has gone; stop ends the watch.
func (s *supervisor) mount() (gone <-chan struct{}, stop func(), err error) {
	dev, err := Attach(s.o.Dir, s.o.AllowOther, s.o.MaxRead)
	if err != nil {
		return nil, nil, err
	}
	// From here on only the daemon has it: when it dies the connection ends.
	defer dev.Close()
	if err := s.conn.send(msgDevice, dev); err != nil {
		unmount(s.o.Dir, unix.MNT_DETACH)
		return nil, nil, fmt.Errorf("mount %s: the daemon ended: %w", s.o.Dir, err)
	}
	m, found, err := top(s.o.Dir)
	if err == nil && !found {
		err = ErrNotMounted
	}
	quit, quitting, pipeErr := os.Pipe()
	if err := errors.Join(err, pipeErr); err != nil {
		unmount(s.o.Dir, unix.MNT_DETACH)
		return nil, nil, fmt.Errorf("mount %s: %w", s.o.Dir, err)
	}
	c, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		if err := watch(m, quit, func() { close(c) }); err != nil {
			s.o.Logger.Warn("cannot watch the mounts", "err", err)
		}
	}()
	return c, func() {
		quitting.Close()
		<-ended
		quit.Close()
	}, nil
}

// verdict says what the end of the daemon means.
func (s *supervisor) verdict() error {
	if s.result == nil {
		return nil
	}
	return &DaemonError{Dir: s.o.Dir, Err: s.result}
}

// shutdown ends the mount, the daemon, and what is left of the mount, in bounded
// time.
func (s *supervisor) shutdown(mounted bool) error {
	if mounted {
		detached, err := Unmount(context.Background(), s.o.Dir, s.o.Grace)
		if err != nil && !errors.Is(err, ErrNotMounted) {
			s.o.Logger.Warn("cannot unmount", "dir", s.o.Dir, "err", err)
		}
		if detached {
			s.o.Logger.Info("the mount was in use; its users get errors now", "dir", s.o.Dir)
		}
	}
	return s.stop()
}

// stop tells the daemon to end, and kills it when it does not.
func (s *supervisor) stop() error {
	s.conn.send(msgStop, nil) // if it fails, the daemon has ended already
	select {
	case <-s.ended:
		return s.verdict()
	case <-time.After(s.o.StopGrace):
	}
	s.daemon.Process.Kill()
	<-s.ended
	return fmt.Errorf("the daemon of the store at %s did not end within %v and was killed", s.o.Dir, s.o.StopGrace)
}

// detach removes the mount of a daemon that has died.
func (s *supervisor) detach() {
	if _, err := Unmount(context.Background(), s.o.Dir, 0); err != nil && !errors.Is(err, ErrNotMounted) {
		s.o.Logger.Warn("cannot unmount", "dir", s.o.Dir, "err", err)
	}
}

// readAhead lets the kernel read ahead as much as one request can carry; it
// takes 128 KiB by itself, and only root may change that.
func (s *supervisor) readAhead() {
	if m, found, err := top(s.o.Dir); err == nil && found && os.Geteuid() == 0 {
		file := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", m.major, m.minor)
		if err := os.WriteFile(file, fmt.Append(nil, s.o.MaxRead>>10), 0o644); err != nil {
			s.o.Logger.Debug("cannot set the read-ahead", "err", err)
		}
	}
}
