package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sys/unix"

	"larder/nar/tree"
	"larder/store"
)

// schema is the version of the key layout as a whole.
const schema = "larder 1"

// Store is an open store. All its methods may be called concurrently.
type Store struct {
	dir          store.Dir
	objectDir    string
	stateDir     string
	objects      int // descriptor of the object directory
	readOnly     bool
	opened       bool // for writing, and recovered: there is something to note at the end
	autoOptimise bool
	now          func() time.Time
	log          *slog.Logger
	point        func(string) error
	onDelete     func(context.Context, []store.StorePath) error
	onReplace    func(context.Context, []store.StorePath) (func(), error)

	lock     *lockFile
	bigLock  *os.File // of the Nix whose store the object directory is; nil if there is none
	db       *database
	numbers  numbers
	temps    temps
	locks    importLocks
	claims   claims
	roots    liveRoots
	commits  commits
	settled  settled
	leftover leftover
	gc       chan struct{} // holds a value while a GC runs
	drvs     derivations
}

// Open opens the store, makes it if there is none, and sweeps what a crash left behind: temporary names noted in the
// database and renames that were never committed, nothing else.
//
// Errors: *LockedError if another process has it, store.ErrCorrupt if the database is damaged.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	o, err = o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &Store{
		dir: o.StoreDir, objectDir: filepath.Clean(o.ObjectDir), stateDir: filepath.Clean(o.StateDir), objects: -1,
		readOnly: o.ReadOnly, autoOptimise: o.AutoOptimise, now: o.Now, log: o.Logger, point: o.Testing.Hook, onDelete: o.OnDelete, onReplace: o.OnReplace,
	}
	s.init()
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	if err := s.makeDirs(); err != nil {
		return nil, err
	}
	if s.lock, err = takeLock(s.stateDir, s.readOnly); err != nil {
		return nil, err
	}
	if s.bigLock, err = takeBigLock(s.objectDir, s.stateDir, s.readOnly); err != nil {
		return nil, err
	}
	if s.objects, err = tree.OpenAt(unix.AT_FDCWD, s.objectDir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, &os.PathError{Op: "open", Path: s.objectDir, Err: err}
	}
	if !s.readOnly {
		if err := s.lockObjects(); err != nil {
			return nil, err
		}
	}
	if s.db, err = openDatabase(o); err != nil {
		return nil, err
	}
	if err := s.checkMeta(); err != nil {
		return nil, err
	}
	if err := s.checkObjectDir(); err != nil {
		return nil, err
	}
	if err := s.numbers.load(); err != nil {
		return nil, err
	}
	if s.readOnly {
		return s, nil
	}
	if err := s.recover(ctx); err != nil {
		return nil, fmt.Errorf("recovering after a crash: %w", err)
	}
	s.opened = true
	return s, nil
}

// init gives each part what it needs of the others.
func (s *Store) init() {
	s.numbers.init(s)
	s.temps.init(s)
	s.locks.init()
	s.claims.init()
	s.roots.init()
	s.commits.init()
	s.gc = make(chan struct{}, 1)
	s.drvs.init(s)
}

func (s *Store) makeDirs() error {
	if s.readOnly {
		return nil
	}
	for _, dir := range []struct {
		path string
		mode os.FileMode
	}{
		{s.objectDir, 0o755},
		{filepath.Join(s.stateDir, "db", "pebble"), 0o755},
		{filepath.Join(s.stateDir, "gcroots", "auto"), 0o755},
		{filepath.Join(s.stateDir, "profiles"), 0o755},
	} {
		if err := os.MkdirAll(dir.path, dir.mode); err != nil {
			return fmt.Errorf("making the store: %w", err)
		}
	}
	return nil
}

// checkMeta makes sure that the database is of this schema and this store directory, or says so in a new one.
func (s *Store) checkMeta() error {
	found, err := s.db.get(keySchema)
	if err != nil {
		return err
	}
	if found == nil {
		if s.readOnly {
			return fmt.Errorf("there is no store in %s", s.stateDir)
		}
		return s.db.change(true, func(b *pebble.Batch) error {
			return errors.Join(b.Set(keySchema, []byte(schema), nil), b.Set(keyStoreDir, []byte(s.dir), nil))
		})
	}
	if string(found) != schema {
		return fmt.Errorf("the database in %s has schema %q, this Larder reads %q", s.stateDir, found, schema)
	}
	dir, err := s.db.get(keyStoreDir)
	if err == nil && string(dir) != string(s.dir) {
		err = fmt.Errorf("the database in %s belongs to the store directory %q, not %q; each needs a state directory of its own", s.stateDir, dir, s.dir)
	}
	return err
}

// Close waits for the methods under way, makes everything durable and lets other processes open the store. Methods called
// after it, and long ones that are under way, fail with ErrClosed.
func (s *Store) Close() error { return s.release() }

// release closes whatever is open.
func (s *Store) release() error {
	var errs []error
	if s.db != nil {
		last := s.lastWords
		if !s.opened {
			last = nil
		}
		errs = append(errs, s.db.close(last))
	}
	if s.objects >= 0 {
		// As in lockFile.release: a child that was just forked has the descriptor, too.
		unlocked := tree.Retry(func() error { return unix.Flock(s.objects, unix.LOCK_UN) })
		if unlocked == unix.EBADF || unlocked == unix.ENOLCK || unlocked == unix.EOPNOTSUPP {
			unlocked = nil // it was never locked, see lockObjects
		}
		errs = append(errs, unlocked, unix.Close(s.objects))
		s.objects = -1
	}
	errs = append(errs, releaseBigLock(s.bigLock))
	s.bigLock = nil
	if s.lock != nil {
		errs = append(errs, s.lock.release())
		s.lock = nil
	}
	return errors.Join(errs...)
}

// lastWords are the notes that a clean end leaves to the next Open.
func (s *Store) lastWords(b *pebble.Batch) error {
	keys := append(s.settled.take(), s.temps.idle()...)
	if err := tree.Retry(func() error { return unix.Fsync(s.objects) }); err != nil {
		return &os.PathError{Op: "fsync", Path: s.objectDir, Err: err}
	}
	for _, k := range keys {
		if err := b.Delete(k, nil); err != nil {
			return err
		}
	}
	return s.numbers.save(b)
}

// Dir is the store directory: what the paths are called.
func (s *Store) Dir() store.Dir { return s.dir }

// ObjectDir is the directory where the objects lie.
func (s *Store) ObjectDir() string { return s.objectDir }

// StateDir is the directory of the database, the roots and the logs.
func (s *Store) StateDir() string { return s.stateDir }

// ObjectPath is where the object of p lies, or would.
func (s *Store) ObjectPath(p store.StorePath) string { return filepath.Join(s.objectDir, p.String()) }

// writable fails where the store is open for reading only.
func (s *Store) writable() error {
	if s.readOnly {
		return ErrReadOnly
	}
	return nil
}
