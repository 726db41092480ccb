package userpool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultDir is where Nix has its locks.
const DefaultDir = "/nix/var/nix"

// CallingUser as UID and GID stands for whoever runs this process, as in package sandbox.
const CallingUser = -1

// Identity is who a builder is on the host.
type Identity struct {
	UID, GID int
	// Count is how many user ids and group ids, from UID and GID on, are the builder's.
	Count int
	// Groups are the supplementary groups.
	Groups []int
}

// Own gives a file to the identity. A symbolic link is not followed.
func (i Identity) Own(path string) error {
	if i.UID == CallingUser {
		return nil
	}
	return os.Lchown(path, i.UID, i.GID)
}

// Options of a Pool. The zero value is the calling user's.
type Options struct {
	// Dir holds the directories userpool and userpool2 with the lock files; they are made if absent. Needed with Group or Ranges.
	Dir string
	// Group is the name of a group whose members build. Empty: none.
	Group string
	// Ranges: ids that no account has are used, even if there is a Group. They begin at StartID, 65536 to a build, and are
	// IDCount in all; 0: Nix's DefaultStartID and DefaultIDCount.
	Ranges           bool
	StartID, IDCount int
	// Kill kills all processes of a user id whose lock is held. Needed with Group or Ranges.
	Kill func(ctx context.Context, uid int) error

	Accounts Accounts // nil: the machine's, remembered for a minute
	IDMaps   []string // files that say which ids exist; nil: /proc/self/uid_map and gid_map
}

// Pool lends identities. Its methods may be called concurrently.
type Pool struct {
	opt    Options
	source source // nil: the calling user

	mu    sync.Mutex
	freed chan struct{} // closed when this process releases an identity; guarded by mu
}

// source finds identities.
type source interface {
	// try locks an identity that is free; nil: there is none.
	try() (*Lock, error)
}

// New checks the options. Whether a group exists, and who is in it, is seen later, since that changes.
func New(o Options) (*Pool, error) {
	p := &Pool{opt: o, freed: make(chan struct{})}
	if o.Group == "" && !o.Ranges {
		return p, nil
	}
	if !filepath.IsAbs(o.Dir) || o.Kill == nil {
		return nil, fmt.Errorf("build users: no directory for locks (%q), or no way to kill", o.Dir)
	}
	if p.opt.Accounts == nil {
		p.opt.Accounts = remember(machine{})
	}
	if !o.Ranges {
		p.source = &members{group: o.Group, dir: filepath.Join(o.Dir, "userpool"), accounts: p.opt.Accounts}
		return p, nil
	}
	r, err := newRanges(p.opt)
	if err != nil {
		return nil, err
	}
	if len(r.slots) > 0 {
		p.source = r
	}
	return p, nil
}

// Lends reports whether builders are others than the calling user.
func (p *Pool) Lends() bool { return p.source != nil }

// pollInterval is how often it is looked whether another process has released an identity.
const pollInterval = 250 * time.Millisecond

// Acquire returns an identity that nobody else builds as and that has no process. If all are in use, it calls waiting, once, and
// waits; if ctx ends meanwhile, its cause is returned.
func (p *Pool) Acquire(ctx context.Context, waiting func()) (*Lock, error) {
	if p.source == nil {
		return &Lock{Identity: Identity{UID: CallingUser, GID: CallingUser, Count: 1}}, nil
	}
	for {
		freed := p.released() // before it is tried, so that nothing is missed
		l, err := p.source.try()
		if err != nil {
			return nil, err
		}
		if l != nil {
			l.pool = p
			if err := l.Kill(ctx); err != nil {
				l.Release()
				return nil, err
			}
			return l, nil
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-freed:
		case <-time.After(pollInterval):
		}
	}
}

func (p *Pool) released() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.freed
}

func (p *Pool) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.freed)
	p.freed = make(chan struct{})
}

// Lock is an identity that nobody else builds as until Release.
type Lock struct {
	Identity

	pool *Pool    // nil: the calling user
	file *os.File // holds the lock
}

// Kill kills all processes of the identity's first user id. Nothing happens to the calling user's.
func (l *Lock) Kill(ctx context.Context) error {
	if l.pool == nil {
		return nil
	}
	return l.pool.opt.Kill(ctx, l.UID)
}

// Release gives the identity back. It is called once.
func (l *Lock) Release() {
	if l.pool == nil {
		return
	}
	l.file.Close() // and with it goes the lock
	l.pool.wake()
}

// lockFile locks a file, which is made if need be; nil: somebody else has.
func lockFile(dir, name string) (*os.File, error) {
	path := filepath.Join(dir, name)
	open := func() (*os.File, error) {
		return os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	}
	f, err := open()
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("directory of user locks (setting userpool-dir): %w", err)
		}
		f, err = open()
	}
	if err != nil {
		return nil, fmt.Errorf("opening user lock '%s': %w", path, err)
	}
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
		case nil:
			return f, nil
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			f.Close()
			return nil, nil
		default:
			f.Close()
			return nil, fmt.Errorf("acquiring lock on '%s': %w", path, err)
		}
	}
}
