package program

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"larder/store"
	"larder/store/cache"
)

// Options say how programs are asked.
type Options struct {
	StoreDir  store.Dir // of the paths that are wanted; default /nix/store
	ObjectDir string    // where the objects lie; default: in StoreDir
	// TempDir is where programs of the early forms make objects: a directory that nobody else can look into. Whoever gives it
	// removes what a crash left in it.
	TempDir string
	Policy  cache.Policy
	Logger  *slog.Logger
	// DownTime is how long a program that could not be started is left alone; default 60 s.
	DownTime time.Duration
}

// Program is a substituter that is a program. All methods may be called concurrently.
type Program struct {
	name  string // the URL
	at    *location
	opt   Options
	asked asked

	slots chan struct{} // one for each process at work

	mu        sync.Mutex // guards what follows
	closed    bool
	idle      []*session
	info      cache.Info // what it said when it greeted last
	greeted   bool
	downUntil time.Time
	down      error // why; store.ErrNotFound: it has nothing to offer

	warnedForeign sync.Once
}

// asked is one of the protocols.
type asked interface {
	// narInfo asks for a path. The answer has not been checked.
	narInfo(ctx context.Context, p store.StorePath) (*store.NarInfo, error)
	nar(ctx context.Context, n *store.NarInfo) (io.ReadCloser, error)
}

// Open prepares to use the program that a URL names. The error says what is wrong with the URL; nothing is started yet.
func Open(url string, o Options) (*Program, error) {
	at, err := parseLocation(url)
	if err != nil {
		return nil, err
	}
	if o.StoreDir == "" {
		o.StoreDir = store.DefaultDir
	}
	if o.ObjectDir == "" {
		o.ObjectDir = string(o.StoreDir)
	}
	if o.DownTime == 0 {
		o.DownTime = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Program{name: url, at: at, opt: o, slots: make(chan struct{}, at.processes)}
	switch {
	case at.form != formLarder && !at.trusted && o.Policy.RequireSigs:
		return nil, fmt.Errorf("substituter %s: its protocol has no signatures, so it can only be used with trusted=true", url)
	case at.inPlace && filepath.Clean(o.ObjectDir) != string(o.StoreDir):
		return nil, fmt.Errorf("substituter %s: with dest=false it makes objects in %s, but here they lie in %s", url, o.StoreDir, o.ObjectDir)
	case at.form == formLarder:
		p.asked = (*larderForm)(p)
		return p, nil
	case o.TempDir == "":
		return nil, fmt.Errorf("substituter %s: no directory is given for what it makes", url)
	case at.form == formNix:
		p.asked = (*nixForm)(p)
	default:
		p.asked = (*argvForm)(p)
	}
	return p, nil
}

// Close ends the processes that wait for requests. Those that are at work end with their request.
func (p *Program) Close() error {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	var all sync.WaitGroup
	for _, s := range idle {
		all.Go(func() { s.end() })
	}
	all.Wait()
	return nil
}

// String is the URL.
func (p *Program) String() string { return p.name }

// Trusted reports whether the URL said trusted=true.
func (p *Program) Trusted() bool { return p.at.trusted }

// Priority is what the URL or else the program says; if it can't be had, cache.DefaultPriority.
func (p *Program) Priority(ctx context.Context) int {
	if p.at.priority != nil {
		return *p.at.priority
	}
	if p.at.form != formLarder {
		return cache.DefaultPriority
	}
	p.mu.Lock()
	info, greeted := p.info, p.greeted
	p.mu.Unlock()
	if !greeted {
		err := p.withSession(ctx, func(*session) error { return nil })
		if err != nil {
			return cache.DefaultPriority
		}
		p.mu.Lock()
		info = p.info
		p.mu.Unlock()
	}
	return info.Priority
}

// NarInfo returns what the program says of a path, if the policy accepts it. Errors are those of cache.Cache.NarInfo. The
// NAR hash of an answer in form=nix or form=argv is zero, and its NAR size may be: they are not known beforehand.
func (p *Program) NarInfo(ctx context.Context, path store.StorePath) (*store.NarInfo, error) {
	n, err := p.asked.narInfo(ctx, path)
	if err == nil && n.Path != path {
		err = corruptf("the answer is about %s", p.opt.StoreDir.Join(n.Path))
	}
	if err == nil {
		err = p.opt.Policy.Check(p.opt.StoreDir, p.at.trusted, n)
	}
	if err != nil {
		return nil, p.fail(ctx, "looking up "+p.opt.StoreDir.Join(path), err)
	}
	return n, nil
}

// NAR opens the NAR that n, from [Program.NarInfo], tells of. What was said of cache.Cache.NAR holds here, too; where n
// does not say how long the NAR is, it may be as long as the URL allows.
func (p *Program) NAR(ctx context.Context, n *store.NarInfo) (io.ReadCloser, error) {
	r, err := p.asked.nar(ctx, n)
	if err != nil {
		return nil, p.fail(ctx, "fetching "+p.opt.StoreDir.Join(n.Path), err)
	}
	return r, nil
}

// Error is a failure of a program, or its answer that it lacks something (store.ErrNotFound). It unwraps to Err.
type Error struct {
	URL string // of the program
	Op  string // what was being done
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("substituter %s: %s: %v", e.URL, e.Op, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// fail wraps err, unless it is a context's.
func (p *Program) fail(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &Error{URL: p.name, Op: op, Err: err}
}

func corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", store.ErrCorrupt, fmt.Errorf(format, args...))
}
