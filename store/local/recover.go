package local

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sys/unix"

	"larder/nar/tree"
	"larder/store"
)

// recover brings the object directory into line with the database: it finishes or undoes the renames that intents speak
// of, removes what has a temporary name that was noted, and only then forgets the notes. Nothing else is touched. It can be
// interrupted and repeated at any point.
func (s *Store) recover(ctx context.Context) error {
	intents, err := s.readIntents()
	if err != nil {
		return err
	}
	notes := make([][]byte, 0, len(intents))
	// What GC made invalid goes first: an object registered again since may be waiting for its place.
	for _, kind := range []intentKind{remove, swap, put} {
		for _, i := range intents {
			if i.kind != kind {
				continue
			}
			if err := s.repair(ctx, i); err != nil {
				return err
			}
			notes = append(notes, i.key)
		}
	}
	blocks, err := s.sweepTemps(ctx)
	if err != nil {
		return err
	}
	notes = append(notes, blocks...)
	if len(notes) == 0 {
		return nil
	}
	if err := s.point(pointRecover); err != nil {
		return err
	}
	if err := tree.Retry(func() error { return unix.Fsync(s.objects) }); err != nil {
		return fmt.Errorf("syncing %s: %w", s.objectDir, err)
	}
	return s.db.change(true, func(b *pebble.Batch) error {
		w := &batchWriter{b: b}
		for _, k := range notes {
			w.delete(k)
		}
		return w.err
	})
}

// noted is an intent with its names.
type noted struct {
	intent
	key   []byte
	final store.StorePath
	temp  string
}

func (s *Store) readIntents() (list []noted, err error) {
	err = s.db.scan([]byte{tableIntent}, func(key, value []byte) (bool, error) {
		n := noted{key: append([]byte(nil), key...)}
		if n.intent, err = decodeIntent(value); err != nil {
			return false, corrupt(key, err)
		}
		n.final, n.temp, err = splitIntentKey(key)
		list = append(list, n)
		return true, err
	})
	return list, err
}

func (s *Store) repair(ctx context.Context, n noted) error {
	at, err := identify(s.objects, n.final.String())
	if err != nil && err != unix.ENOENT {
		return fmt.Errorf("%s: %w", s.ObjectPath(n.final), err)
	}
	inPlace := err == nil && at == n.file
	if n.kind == swap {
		if inPlace {
			return s.unswap(n)
		}
		return nil
	}
	e, valid, err := s.entry(s.db, n.final)
	if err != nil {
		return err
	}
	present := valid && e.state == Present
	switch {
	case inPlace && (n.kind == remove || !present):
		s.log.Info("removing what a crash left behind", "path", n.final)
		if _, err := tree.RemoveAt(ctx, s.objects, n.final.String()); err != nil {
			return fmt.Errorf("removing %s: %w", s.ObjectPath(n.final), err)
		}
	case n.kind == put && present && !inPlace:
		temp, err := identify(s.objects, n.temp)
		if err != nil || temp != n.file {
			return nil // it has been in place, and has gone since by a path that was noted too
		}
		s.log.Info("repeating a rename that a crash undid", "path", n.final)
		if err := renameNew(s.objects, n.temp, n.final.String()); err == unix.EEXIST {
			// Neither may be deleted: ours is registered, the other is not ours.
			return fmt.Errorf("the registered object is still at %s/%s: %w", s.objectDir, n.temp,
				&OccupiedError{Path: n.final, File: s.ObjectPath(n.final)})
		} else if err != nil {
			return fmt.Errorf("renaming %s to %s: %w", n.temp, s.ObjectPath(n.final), err)
		}
	}
	return nil
}

// sweepTemps removes what has one of the temporary names that were noted, and returns the notes.
func (s *Store) sweepTemps(ctx context.Context) (notes [][]byte, err error) {
	err = s.db.scan([]byte{tableTemps}, func(key, _ []byte) (bool, error) {
		if len(key) != 1+8+4 {
			return false, corrupt(key, errRecordEnd)
		}
		notes = append(notes, append([]byte(nil), key...))
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	for _, key := range notes {
		session, block := [8]byte(key[1:9]), binary.BigEndian.Uint32(key[9:])
		for seq := block * tempBlock; seq < (block+1)*tempBlock; seq++ {
			name := tempName(session, seq)
			if _, err := tree.RemoveAt(ctx, s.objects, name); err != nil {
				return nil, fmt.Errorf("removing %s/%s: %w", s.objectDir, name, err)
			}
		}
	}
	return notes, nil
}

// isTemp tells whether a name could be a temporary one, of this opening of the store or another.
func isTemp(name string) bool { return strings.HasPrefix(name, TempPrefix) }
