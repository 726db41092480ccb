package fusefs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"larder/store"
)

// Objects is the store whose objects are shown. Methods are called
// concurrently; only AllValid may do I/O of any size.
type Objects interface {
	Dir() store.Dir
	ObjectDir() string // where objects lie as plain files, by base name

	// Number is the permanent number of a path. One that is absent and unknown
	// gets a reservation, which ends with ReleaseNumber unless the path came.
	Number(p store.StorePath) (uint32, error)
	PathOf(n uint32) (store.StorePath, bool)
	ReleaseNumber(n uint32)

	IsPresent(p store.StorePath) bool // complete in ObjectDir; fast
	AllValid(ctx context.Context) iter.Seq2[store.StorePath, error]
}

// Realiser makes an absent path present. An error that is store.ErrNotFound
// says that this is provably impossible; anything else is a failure. When ctx
// ends the caller has left, which says nothing about others that wait.
type Realiser interface {
	Realise(ctx context.Context, who store.Caller, p store.StorePath) error
}

// Options for New. Objects and Realiser are required.
type Options struct {
	Objects  Objects
	Realiser Realiser
	Logger   *slog.Logger // nil: nothing is logged

	UID, GID uint32 // owner that everything shows

	MaxFiles        int // backing files kept open; 0: 1024, less if descriptors are few
	MaxIndexEntries int // entries of objects that are kept in memory; 0: 2 million
	MaxPlaceholders int // absent names that the kernel may remember; 0: 65536
}

// FS answers the kernel. It implements fuse.RawFileSystem; its methods are
// called by the server, one goroutine a request.
type FS struct {
	fuse.RawFileSystem // ENOSYS for what is not listed here

	objects  Objects
	realiser Realiser
	log      *slog.Logger
	uid, gid uint32
	dirfd    int // of the object directory, O_PATH
	proc     procFS

	lookups *lookups
	kinds   *kindMemory
	indexes *indexes
	files   *files
	root    rootListing
	sweeper *sweeper
	retired retirements
	aliases atomic.Uint32

	kernel notifier    // set by Init, before any request
	dead   func() bool // the connection has ended; set by Serve, before any request

	// Waits and the sweeper run till ctx ends; Close waits for them.
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	gate   sync.RWMutex // held for reading by every request that needs the store
	closed bool         // guarded by gate
}

// notifier is what we may tell the kernel. A call can block until every LOOKUP
// in the directory has been answered: never from a request's goroutine, never
// under a lock.
type notifier interface {
	EntryNotify(parent uint64, name string) fuse.Status
}

// New prepares a file system; it mounts nothing. Close releases it.
func New(o Options) (*FS, error) {
	if o.Objects == nil || o.Realiser == nil {
		return nil, errors.New("fusefs: Objects and Realiser are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	dirfd, err := unix.Open(o.Objects.ObjectDir(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the object directory %s: %w", o.Objects.ObjectDir(), err)
	}
	f := &FS{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		objects:       o.Objects,
		realiser:      o.Realiser,
		log:           o.Logger,
		uid:           o.UID,
		gid:           o.GID,
		dirfd:         dirfd,
		proc:          "/proc",
		lookups:       newLookups(),
		kinds:         newKindMemory(1 << 16),
		dead:          func() bool { return false },
	}
	f.indexes = newIndexes(orDefault(o.MaxIndexEntries, 2<<20), f.buildIndex)
	f.files = newFiles(orDefault(o.MaxFiles, defaultMaxFiles()), f.openNode)
	f.sweeper = newSweeper(orDefault(o.MaxPlaceholders, 1<<16))
	f.aliases.Store(1)
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f, nil
}

func orDefault(n, def int) int {
	if n > 0 {
		return n
	}
	return def
}

// defaultMaxFiles leaves most descriptors to the rest of the daemon.
func defaultMaxFiles() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur > 8*1024 {
		return 1024
	}
	return max(16, int(l.Cur/8))
}

// Close ends every wait with EINTR, lets the requests that are being answered
// finish, and releases everything. Requests that still come get ENOTCONN, and
// Objects and Realiser are not called any more. May be called more than once.
func (f *FS) Close() error {
	f.cancel()
	f.gate.Lock()
	was := f.closed
	f.closed = true
	f.gate.Unlock()
	f.tasks.Wait()
	if was {
		return nil
	}
	f.files.drop(func(nodeID) bool { return true })
	return unix.Close(f.dirfd)
}

// enter begins a request that needs the store, unless the file system is
// closed. Leave ends it.
func (f *FS) enter() bool {
	f.gate.RLock()
	if f.closed {
		f.gate.RUnlock()
		return false
	}
	return true
}

func (f *FS) leave() { f.gate.RUnlock() }

const notConnected = fuse.Status(unix.ENOTCONN)

func (f *FS) String() string { return "larder" }

// Init is called once, before requests are served.
func (f *FS) Init(s *fuse.Server) { f.start(s) }

func (f *FS) start(k notifier) {
	f.kernel = k
	f.tasks.Go(f.sweep)
}

// StatFs tells what is true of the disk that the objects are on.
func (f *FS) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	if !f.enter() {
		return notConnected
	}
	defer f.leave()
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(f.dirfd, &st) }); err != nil {
		return f.failure("statfs", rootID, err)
	}
	*out = fuse.StatfsOut{
		Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail, Files: st.Files, Ffree: st.Ffree,
		Bsize: uint32(st.Bsize), Frsize: uint32(st.Frsize), NameLen: unix.NAME_MAX,
	}
	return fuse.OK
}

// isPresent reports whether an object can be looked at now.
func (f *FS) isPresent(n uint32, p store.StorePath) bool {
	return f.retired.wait(n) == nil && f.objects.IsPresent(p)
}

// statObject is lstat of an object that is present.
func (f *FS) statObject(n uint32, p store.StorePath, st *unix.Stat_t) (kind, fuse.Status) {
	if err := statAt(f.dirfd, p.String(), st); err != nil {
		return 0, f.failure("stat", newNodeID(n, 0, 0), err)
	}
	k, ok := kindOfMode(st.Mode)
	if !ok {
		return 0, f.failure("stat", newNodeID(n, 0, 0), fmt.Errorf("its type is not one that a store object can have"))
	}
	f.kinds.set(n, k)
	return k, fuse.OK
}

// path is where a node lies, relative to the object directory.
func (f *FS) path(id nodeID) (string, error) {
	p, ok := f.objects.PathOf(id.object())
	if !ok {
		return "", unix.ESTALE
	}
	if id.isTop() {
		return p.String(), nil
	}
	x, err := f.indexes.get(id.object())
	if err != nil {
		return "", err
	}
	if !x.valid(id.entry()) {
		return "", unix.ESTALE
	}
	return x.path(p.String(), id.entry()), nil
}

func (f *FS) buildIndex(object uint32) (*index, error) {
	p, ok := f.objects.PathOf(object)
	if !ok {
		return nil, unix.ESTALE
	}
	return buildIndex(f.dirfd, p.String())
}

// failure translates an error about something that should be here. What has
// gone is ESTALE: the kernel looks it up again.
func (f *FS) failure(op string, id nodeID, err error) fuse.Status {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE) || errors.Is(err, unix.ENOTDIR) {
		return fuse.Status(unix.ESTALE)
	}
	p, _ := f.objects.PathOf(id.object())
	f.log.Error("cannot serve an object that should be here", "op", op, "path", p.String(), "entry", id.entry(), "err", err)
	return fuse.EIO
}
