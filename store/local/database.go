package local

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"larder/store"
)

// database is Pebble with a door: after close every use is an error instead of a panic, and close waits for what is under
// way. After a failed commit nothing is known about what is durable, so every later use fails too; opening the store
// again finds out.
type database struct {
	pebble *pebble.DB

	mu     sync.Mutex // guards what follows
	users  int
	closed bool
	failed error
	idle   sync.Cond // users became 0
}

// reader is what a database and a snapshot of it have in common.
type reader interface {
	// get returns a copy of a record, nil if there is none.
	get(key []byte) ([]byte, error)
	// scan calls visit with each record whose key begins with prefix, in order, until it returns false or an error. Key and
	// value are valid only during the call.
	scan(prefix []byte, visit func(key, value []byte) (bool, error)) error
	// each calls visit with the record of each number in a table, nil if there is none. It is much faster than get if the
	// numbers ascend. The value is valid only during the call.
	each(table byte, numbers []uint32, visit func(i int, value []byte) error) error
}

func openDatabase(o Options) (*database, error) {
	db := &database{}
	db.idle.L = &db.mu
	fs := o.Testing.FS
	if o.ReadOnly {
		// Pebble would make its own lock file, which a read-only file system does not let it; ours is held already.
		fs = unlockedFS{fs}
	}
	log := databaseLog{db: db, log: o.Logger}
	options := &pebble.Options{
		FS:                 fs,
		ReadOnly:           o.ReadOnly,
		ErrorIfNotExists:   o.ReadOnly,
		CacheSize:          o.CacheSize,
		MemTableSize:       16 << 20,
		MaxOpenFiles:       500,
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             log,
		EventListener:      &pebble.EventListener{BackgroundError: log.background, DataCorruption: log.corruption},
	}
	// Most questions are "is this path valid", most answers no: the filter spares them a read of every level.
	options.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	var err error
	db.pebble, err = pebble.Open(filepath.Join(o.StateDir, "db", "pebble"), options)
	if err != nil {
		return nil, fmt.Errorf("opening the database in %s: %w", o.StateDir, databaseError(err))
	}
	return db, nil
}

// unlockedFS is a file system whose locks are granted to everybody.
type unlockedFS struct{ vfs.FS }

func (unlockedFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// enter begins a use of the database; leave must follow if it returns nil.
func (db *database) enter() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return ErrClosed
	}
	if db.failed != nil {
		return fmt.Errorf("the database failed earlier, restart to recover: %w", db.failed)
	}
	db.users++
	return nil
}

func (db *database) leave() {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.users--; db.users == 0 {
		db.idle.Broadcast()
	}
}

func (db *database) fail(err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.failed == nil {
		db.failed = err
	}
}

// close refuses new users, waits for those there are, makes a last change unless the database has failed, and closes
// Pebble. Only the first call does something.
func (db *database) close(last func(b *pebble.Batch) error) (err error) {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	for db.users > 0 {
		db.idle.Wait()
	}
	failed := db.failed
	db.mu.Unlock()
	if failed == nil && last != nil {
		err = db.apply(true, last)
	}
	defer recoverFatal(&err)
	return errors.Join(err, databaseError(db.pebble.Close()))
}

func (db *database) get(key []byte) ([]byte, error) {
	if err := db.enter(); err != nil {
		return nil, err
	}
	defer db.leave()
	return getRecord(db.pebble, key)
}

func (db *database) scan(prefix []byte, visit func(key, value []byte) (bool, error)) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	return scanRecords(db.pebble, prefix, visit)
}

func (db *database) each(table byte, numbers []uint32, visit func(i int, value []byte) error) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	return eachRecord(db.pebble, table, numbers, visit)
}

// change makes all changes of a batch at once. With sync they are durable when it returns.
func (db *database) change(sync bool, fill func(b *pebble.Batch) error) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	return db.apply(sync, fill)
}

func (db *database) apply(sync bool, fill func(b *pebble.Batch) error) (err error) {
	b := db.pebble.NewBatch()
	defer b.Close()
	if err := fill(b); err != nil {
		return err
	}
	if b.Empty() && !sync {
		return nil
	}
	how := pebble.NoSync
	if sync {
		how = pebble.Sync
	}
	defer recoverFatal(&err)
	if err := b.Commit(how); err != nil {
		return fmt.Errorf("database: %w", databaseError(err))
	}
	return nil
}

// snapshot is the database as it was when the snapshot was taken. Close it.
type snapshot struct {
	db   *database
	snap *pebble.Snapshot
}

func (db *database) snapshot() (*snapshot, error) {
	if err := db.enter(); err != nil {
		return nil, err
	}
	return &snapshot{db, db.pebble.NewSnapshot()}, nil
}

func (s *snapshot) get(key []byte) ([]byte, error) { return getRecord(s.snap, key) }

func (s *snapshot) scan(prefix []byte, visit func(key, value []byte) (bool, error)) error {
	return scanRecords(s.snap, prefix, visit)
}

func (s *snapshot) each(table byte, numbers []uint32, visit func(i int, value []byte) error) error {
	return eachRecord(s.snap, table, numbers, visit)
}

func (s *snapshot) close() {
	s.snap.Close()
	s.db.leave()
}

func getRecord(r pebble.Reader, key []byte) ([]byte, error) {
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("database: %w", databaseError(err))
	}
	defer closer.Close()
	return append([]byte{}, v...), nil
}

func scanRecords(r pebble.Reader, prefix []byte, visit func(key, value []byte) (bool, error)) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return fmt.Errorf("database: %w", databaseError(err))
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("database: %w", databaseError(err))
		}
		if more, err := visit(it.Key(), value); err != nil || !more {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("database: %w", databaseError(err))
	}
	return nil
}

func eachRecord(r pebble.Reader, table byte, numbers []uint32, visit func(i int, value []byte) error) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{table}, UpperBound: []byte{table + 1}})
	if err != nil {
		return fmt.Errorf("database: %w", databaseError(err))
	}
	defer it.Close()
	key := numberKey(table, 0)
	for i, n := range numbers {
		binary.BigEndian.PutUint32(key[1:], n)
		// Neighbours follow each other.
		if !(i > 0 && numbers[i-1] < n && n-numbers[i-1] < 4 && it.Valid() && it.Next() && bytes.Equal(it.Key(), key)) {
			it.SeekGE(key)
		}
		var value []byte
		if it.Valid() && bytes.Equal(it.Key(), key) {
			if value, err = it.ValueAndErr(); err != nil {
				return fmt.Errorf("database: %w", databaseError(err))
			}
		} else if err := it.Error(); err != nil {
			return fmt.Errorf("database: %w", databaseError(err))
		}
		if err := visit(i, value); err != nil {
			return err
		}
	}
	return nil
}

// databaseError marks what Pebble found to be corrupt in our own terms.
func databaseError(err error) error {
	if err != nil && pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return err
}

// fatalError is what Fatalf panics with, because Pebble does not expect it to return.
type fatalError struct{ error }

// recoverFatal turns the panic of Fatalf into an error.
func recoverFatal(err *error) {
	switch r := recover().(type) {
	case nil:
	case fatalError:
		*err = r.error
	default:
		panic(r)
	}
}

// databaseLog passes Pebble's messages on. Its chatter is for debugging.
type databaseLog struct {
	db  *database
	log *slog.Logger
}

func (l databaseLog) Infof(format string, args ...any) {
	l.log.Debug("database", "message", fmt.Sprintf(format, args...))
}

func (l databaseLog) Errorf(format string, args ...any) {
	l.log.Error("database", "message", fmt.Sprintf(format, args...))
}

// Fatalf ends the use of the database. In a goroutine of Pebble's the panic ends the process, which is what a database that
// can't write any more is for: the next one recovers.
func (l databaseLog) Fatalf(format string, args ...any) {
	err := fatalError{fmt.Errorf("database: "+format, args...)}
	l.db.fail(err.error)
	l.log.Error("database failed", "err", err.error)
	panic(err)
}

func (l databaseLog) background(err error) { l.log.Error("database", "err", err) }

func (l databaseLog) corruption(i pebble.DataCorruptionInfo) {
	l.log.Error("database is corrupt", "file", i.Path, "err", i.Details)
}
