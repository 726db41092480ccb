package local

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sys/unix"

	"larder/nar/tree"
	"larder/store"
)

// Replace gives valid paths other objects: the same contents in the place of damaged ones, or those of another build. It is
// Register in what it demands of the additions and in that it takes the temporary names over. All are replaced, or the error
// tells the first that was not.
//
// Where the NAR hash is the registered one everything known about the path stays, and signatures are added. Contents of
// another hash bring their own path info; a path whose contents are promised by its name can't have any.
//
// What is replaced keeps its old object, or has its new one, whenever a crash comes; whoever has the old one open keeps that.
//
// Errors: *store.PathError that wraps store.ErrNotValid for a path or a reference that is not valid, store.ErrCorrupt for
// contents that can't be the path's; what Options.OnReplace returned; what the system said.
func (s *Store) Replace(ctx context.Context, adds ...store.Addition) error {
	return s.takeOver(ctx, adds, s.replaceAll)
}

func (s *Store) replaceAll(ctx context.Context, r *registration) error {
	if s.autoOptimise {
		s.optimiseNew(ctx, r)
	}
	release, err := s.claims.take(ctx, r.paths)
	if err != nil {
		return err
	}
	defer release()
	if s.onReplace != nil {
		done, err := s.onReplace(ctx, r.paths)
		if err != nil {
			return fmt.Errorf("replacing %s: %w", s.dir.Join(r.paths[0]), err)
		}
		defer done()
	}
	for _, a := range r.adds {
		if err := s.replace(ctx, a); err != nil {
			return &store.PathError{Op: "replace", Dir: s.dir, Path: a.info.Path, Err: err}
		}
	}
	return nil
}

// replace does it for one path, in this order: the new data and an intent become durable; the names are exchanged, and that
// becomes durable; one batch writes the new info and deletes the intent. An intent that recovery finds is of a replacement
// that does not count, and is undone.
func (s *Store) replace(ctx context.Context, a *adding) error {
	if err := tree.Retry(func() error { return unix.Syncfs(s.objects) }); err != nil {
		return fmt.Errorf("syncing %s: %w", s.objectDir, err)
	}
	// What is found here stays true: nobody makes the path or its references invalid.
	release, err := s.commits.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	write, err := s.prepareReplacement(ctx, a)
	if err != nil {
		return err
	}
	a.intentKey = intentKey(a.info.Path.String(), a.temp)
	err = s.db.change(true, func(b *pebble.Batch) error { return b.Set(a.intentKey, intent{swap, a.file}.encode(), nil) })
	if err == nil {
		err = s.point(pointSwap)
	}
	if err != nil {
		return err
	}
	if err := s.exchange(a); err != nil {
		return err
	}
	if err := s.point(pointSwapped); err != nil {
		return errors.Join(err, s.unswap(noted{key: a.intentKey, final: a.info.Path, temp: a.temp}))
	}
	err = s.db.change(true, func(b *pebble.Batch) error {
		w := &batchWriter{b: b}
		write(w)
		w.delete(a.intentKey)
		s.roots.refer(a.refs)
		return w.err
	})
	if err == nil {
		err = s.point(pointReplaced)
	}
	return err
}

// prepareReplacement checks a replacement and returns what writes its info.
func (s *Store) prepareReplacement(ctx context.Context, a *adding) (write func(*batchWriter), err error) {
	e, ok, err := s.entry(s.db, a.info.Path)
	if err != nil {
		return nil, err
	}
	if !ok || e.state != Present {
		return nil, store.ErrNotValid
	}
	a.number = e.number
	if a.file, err = identify(s.objects, a.temp); err != nil {
		return nil, fmt.Errorf("%s: %w", a.temp, err)
	}
	old, err := s.info(s.db, a.number)
	if err != nil {
		return nil, err
	}
	if a.info.NarHash == old.narHash {
		old.addSignatures(a.info.Signatures)
		old.ultimate = old.ultimate || a.info.Ultimate
		return func(w *batchWriter) { w.set(numberKey(tableInfo, a.number), old.encode()) }, nil
	}
	if !old.ca.IsZero() && !isNull(old.narHash) {
		return nil, fmt.Errorf("its NAR hash is %s, that of the registered contents is %s: %w",
			a.info.NarHash.Text(store.SRI), old.narHash.Text(store.SRI), store.ErrCorrupt)
	}
	return s.prepareOther(ctx, a)
}

// prepareOther is prepareReplacement where other contents come with other references.
func (s *Store) prepareOther(ctx context.Context, a *adding) (write func(*batchWriter), err error) {
	if err := s.prepareReferences(a, map[store.StorePath]uint32{a.info.Path: a.number}); err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(slices.Clone(a.references), func(p store.StorePath) bool { return p == a.info.Path })
	closure, err := s.Closure(ctx, others)
	if err != nil {
		return nil, err
	}
	if slices.Contains(closure, a.info.Path) {
		return nil, fmt.Errorf("what it refers to refers to it: %w", store.ErrCorrupt)
	}
	before, err := s.references(s.db, nil, a.number)
	if err != nil {
		return nil, err
	}
	i := &info{
		narHash: a.info.NarHash, narSize: a.info.NarSize, registered: s.now(), deriver: a.info.Deriver,
		ca: a.info.CA, signatures: a.info.Signatures, ultimate: a.info.Ultimate,
	}
	return func(w *batchWriter) {
		for _, ref := range before {
			w.delete(referrerKey(ref, a.number))
		}
		w.set(numberKey(tableInfo, a.number), i.encode())
		w.set(numberKey(tableReferences, a.number), encodeNumbers(a.refs))
		for _, ref := range a.refs {
			w.set(referrerKey(ref, a.number), nil)
		}
	}, nil
}

// exchange puts the new object in its place, durably. The old one, if there is one, gets the temporary name.
func (s *Store) exchange(a *adding) error {
	final := a.info.Path.String()
	err := tree.Retry(func() error { return unix.Renameat2(s.objects, a.temp, s.objects, final, unix.RENAME_EXCHANGE) })
	if err == unix.ENOENT {
		err = renameNew(s.objects, a.temp, final)
	}
	if err != nil {
		s.settled.add(a.intentKey)
		return fmt.Errorf("rename %s: %w", a.temp, err)
	}
	if err := tree.Retry(func() error { return unix.Fsync(s.objects) }); err != nil {
		return fmt.Errorf("syncing %s: %w", s.objectDir, err)
	}
	return nil
}

// unswap undoes an exchange that was not committed.
func (s *Store) unswap(n noted) error {
	s.log.Info("undoing a replacement that was interrupted", "path", n.final)
	final := n.final.String()
	err := tree.Retry(func() error { return unix.Renameat2(s.objects, n.temp, s.objects, final, unix.RENAME_EXCHANGE) })
	if err == unix.ENOENT { // there was no old object
		err = renameNew(s.objects, final, n.temp)
	}
	if err != nil {
		return fmt.Errorf("renaming %s to %s: %w", s.ObjectPath(n.final), n.temp, err)
	}
	return nil
}

// addSignatures adds those that are not there yet.
func (i *info) addSignatures(list []store.Signature) (added bool) {
	for _, sig := range list {
		if !slices.Contains(i.signatures, sig) {
			i.signatures = append(i.signatures, sig)
			added = true
		}
	}
	return added
}
