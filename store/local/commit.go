package local

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sys/unix"

	"larder/nar/tree"
	"larder/store"
)

// commit puts the objects of a group of registrations in place and makes them valid, in this order:
//
//  1. The data of the temporary trees becomes durable (one syncfs), and beside it the intents: the notes of the renames
//     that follow.
//  2. The renames, never over anything.
//  3. One batch with everything about the new paths, synced. This is the commit: before it none is valid, after it all are.
//
// A crash before 3 leaves renames that recover undoes by the intents. After 3 a crash of the machine may lose the renames,
// not the intents; recover does them again. So the intents stay until a later sync of the file system has made sure.
//
// The leader of commits calls it. It sets the err of those that fail; they do not disturb the others.
func (s *Store) commit(group []*registration) {
	group = s.each(group, s.prepare)
	group = slices.DeleteFunc(group, (*registration).nothingNew)
	if len(group) == 0 {
		return
	}
	served := s.settled.take()
	err := s.makeDurable(group)
	if err == nil {
		group = s.each(group, s.putInPlace)
		err = s.commitBatch(group, served)
	}
	if err != nil {
		s.settled.add(served...)
		for _, r := range group {
			r.err = err
		}
		return
	}
	for _, r := range group {
		for _, a := range r.adds {
			if a.renamed {
				s.settled.add(a.intentKey)
				s.temps.done(a.temp)
			}
		}
	}
	if err := s.point(pointCommitted); err != nil {
		s.log.Error("after commit", "err", err)
	}
}

// each returns the registrations for which step succeeds and ends the others.
func (s *Store) each(group []*registration, step func(*registration) error) []*registration {
	return slices.DeleteFunc(group, func(r *registration) bool {
		r.err = step(r)
		return r.err != nil
	})
}

// nothingNew tells whether all paths were valid already.
func (r *registration) nothingNew() bool {
	return !slices.ContainsFunc(r.adds, func(a *adding) bool { return a.was != Present })
}

// prepare finds the numbers of everything and checks that the references are valid.
func (s *Store) prepare(r *registration) error {
	numbers := map[store.StorePath]uint32{}
	for _, a := range r.adds {
		e, ok, err := s.entry(s.db, a.info.Path)
		if err != nil {
			return err
		}
		if ok {
			a.number, a.was = e.number, e.state
		} else if a.number, err = s.numbers.register(a.info.Path); err != nil {
			return err
		}
		numbers[a.info.Path] = a.number
	}
	for _, a := range r.adds {
		if a.was == Present {
			continue
		}
		if err := s.prepareReferences(a, numbers); err != nil {
			return err
		}
		if err := s.prepareFile(a); err != nil {
			return err
		}
	}
	return nil
}

// prepareReferences finds the numbers of references, which must be valid or among those that are given.
func (s *Store) prepareReferences(a *adding, numbers map[store.StorePath]uint32) error {
	for _, p := range a.references {
		n, ok := numbers[p]
		if !ok {
			e, ok, err := s.entry(s.db, p)
			if err == nil && !ok {
				err = fmt.Errorf("it refers to %s: %w", s.dir.Join(p), store.ErrNotValid)
			}
			if err != nil {
				return &store.PathError{Op: "register", Dir: s.dir, Path: a.info.Path, Err: err}
			}
			n = e.number
		}
		a.refs = append(a.refs, n)
	}
	slices.Sort(a.refs)
	return nil
}

// prepareFile makes sure that the object is there and that its place is free.
func (s *Store) prepareFile(a *adding) (err error) {
	final := a.info.Path.String()
	if a.file, err = identify(s.objects, a.temp); err != nil {
		return &store.PathError{Op: "register", Dir: s.dir, Path: a.info.Path, Err: fmt.Errorf("%s: %w", a.temp, err)}
	}
	if a.was == Promised {
		i, err := s.info(s.db, a.number)
		if err == nil && i.narHash != a.info.NarHash {
			err = fmt.Errorf("its NAR hash is %s, promised was %s: %w", a.info.NarHash, i.narHash, store.ErrCorrupt)
		}
		if err != nil {
			return &store.PathError{Op: "register", Dir: s.dir, Path: a.info.Path, Err: err}
		}
	}
	var st unix.Stat_t
	if err := tree.LstatAt(s.objects, final, &st); err == nil {
		return &OccupiedError{Path: a.info.Path, File: s.ObjectPath(a.info.Path)}
	} else if err != unix.ENOENT {
		return &store.PathError{Op: "register", Dir: s.dir, Path: a.info.Path, Err: err}
	}
	a.intentKey = intentKey(final, a.temp)
	return nil
}

// makeDurable is step 1. The two syncs run side by side.
func (s *Store) makeDurable(group []*registration) error {
	if err := s.point(pointPrepared); err != nil {
		return err
	}
	var wg sync.WaitGroup
	var synced error
	wg.Go(func() {
		synced = tree.Retry(func() error { return unix.Syncfs(s.objects) })
		if synced != nil {
			synced = fmt.Errorf("syncing %s: %w", s.objectDir, synced)
		}
	})
	noted := s.db.change(true, func(b *pebble.Batch) error {
		for _, r := range group {
			for _, a := range r.adds {
				if a.was == Present {
					continue
				}
				if err := b.Set(a.intentKey, intent{put, a.file}.encode(), nil); err != nil {
					return err
				}
			}
		}
		return nil
	})
	wg.Wait()
	err := errors.Join(noted, synced)
	if err == nil {
		err = s.point(pointNoted)
	}
	if err != nil {
		for _, r := range group {
			err = errors.Join(err, s.takeBack(r))
		}
	}
	return err
}

// putInPlace is step 2 for one registration. If a rename fails, those before it are undone.
func (s *Store) putInPlace(r *registration) error {
	for _, a := range r.adds {
		if a.was == Present {
			continue
		}
		err := s.point(pointRename)
		if err == nil {
			err = renameNew(s.objects, a.temp, a.info.Path.String())
		}
		switch {
		case err == nil:
			a.renamed = true
			continue
		case errors.Is(err, unix.EEXIST):
			err = &OccupiedError{Path: a.info.Path, File: s.ObjectPath(a.info.Path)}
		default:
			err = &store.PathError{Op: "register", Dir: s.dir, Path: a.info.Path, Err: fmt.Errorf("rename %s: %w", a.temp, err)}
		}
		return errors.Join(err, s.takeBack(r))
	}
	return nil
}

// takeBack undoes the renames of a registration that failed.
func (s *Store) takeBack(r *registration) error {
	var errs []error
	for _, a := range r.adds {
		if a.renamed {
			if err := renameNew(s.objects, a.info.Path.String(), a.temp); err != nil {
				errs = append(errs, &store.PathError{Op: "undo the registration of", Dir: s.dir, Path: a.info.Path, Err: err})
				continue // the intent stays, the next Open tries again
			}
			a.renamed = false
		}
		if a.was != Present {
			s.settled.add(a.intentKey)
		}
	}
	return errors.Join(errs...)
}

// commitBatch is step 3. If it fails nobody knows whether it is durable: then everything is left as it is, and the next
// Open decides by what it finds in the database.
func (s *Store) commitBatch(group []*registration, served [][]byte) error {
	if len(group) == 0 && len(served) == 0 {
		return nil
	}
	if err := s.point(pointRenamed); err != nil {
		for _, r := range group {
			err = errors.Join(err, s.takeBack(r))
		}
		return err
	}
	return s.db.change(true, func(b *pebble.Batch) error {
		for _, k := range served {
			if err := b.Delete(k, nil); err != nil {
				return err
			}
		}
		for _, r := range group {
			for _, a := range r.adds {
				if a.was == Present {
					continue
				}
				if err := s.writeAdding(b, a); err != nil {
					return err
				}
				s.roots.refer(a.refs)
			}
		}
		return nil
	})
}

// writeAdding writes all records of a path that becomes present. What a promise said of it stays, but the promise.
func (s *Store) writeAdding(b *pebble.Batch, a *adding) error {
	w := &batchWriter{b: b}
	n := a.number
	w.set(pathKey(a.info.Path), entry{Present, n}.encode())
	if a.was == Promised {
		i, err := s.info(s.db, n)
		if err != nil {
			return err
		}
		i.promise = nil
		w.set(numberKey(tableInfo, n), i.encode())
		return w.err
	}
	i := &info{
		narHash: a.info.NarHash, narSize: a.info.NarSize, registered: a.info.RegistrationTime, deriver: a.info.Deriver,
		ca: a.info.CA, signatures: a.info.Signatures, ultimate: a.info.Ultimate,
	}
	if i.registered.IsZero() {
		i.registered = s.now().Truncate(time.Second)
	}
	w.set(numberKey(tableName, n), encodePath(a.info.Path))
	w.set(numberKey(tableInfo, n), i.encode())
	w.set(numberKey(tableReferences, n), encodeNumbers(a.refs))
	for _, ref := range a.refs {
		w.set(referrerKey(ref, n), nil)
	}
	if a.outputs != nil {
		w.set(numberKey(tableOutputs, n), encodeOutputs(a.outputs))
		for _, o := range a.outputs {
			if !o.path.IsZero() {
				w.set(deriverKey(o.path, n), encodeOutputs([]output{o}))
			}
		}
	}
	return w.err
}

// batchWriter collects changes and keeps the first error.
type batchWriter struct {
	b   *pebble.Batch
	err error
}

func (w *batchWriter) set(key, value []byte) {
	if w.err == nil {
		w.err = w.b.Set(key, value, nil)
	}
}

func (w *batchWriter) delete(key []byte) {
	if w.err == nil {
		w.err = w.b.Delete(key, nil)
	}
}
