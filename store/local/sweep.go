package local

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sys/unix"

	"larder/store"
)

// sweepBatch is how many paths one commit makes invalid. New registrations wait for that commit.
const sweepBatch = 1000

// sweep deletes dead objects, referrers first. Each batch is made invalid by one durable commit, shown to OnDelete, renamed out
// of the way and then unlinked, while the next batch is on its way.
func (c *collection) sweep(ctx context.Context, dead []uint32) error {
	spared := newBitmap(len(c.heap.numbers))
	bin := c.s.openBin(ctx)
	var err error
	for len(dead) > 0 && err == nil {
		batch := dead[:min(sweepBatch, len(dead))]
		if c.o.MaxFreed > 0 {
			// What is free is only known when it is unlinked, so wait, and guess how many paths it still takes.
			if err = bin.drain(); err != nil || bin.freed() >= c.o.MaxFreed {
				break
			}
			if batch, err = c.guess(batch, c.o.MaxFreed-bin.freed()); err != nil {
				break
			}
		}
		dead = dead[len(batch):]
		if err = ctx.Err(); err == nil {
			err = c.sweepSome(ctx, batch, spared, bin)
		}
	}
	err = errors.Join(err, bin.close())
	c.result.BytesFreed = bin.freed()
	return err
}

// guess takes as many of the paths as have that many bytes as NARs, and at least one.
func (c *collection) guess(batch []uint32, bytes int64) ([]uint32, error) {
	for n, i := range batch {
		if bytes <= 0 {
			return batch[:n], nil
		}
		info, err := c.s.info(c.s.db, c.heap.numbers[i])
		if err != nil {
			return nil, err
		}
		bytes -= int64(info.narSize)
	}
	return batch, nil
}

// corpse is an object that is being deleted.
type corpse struct {
	path   store.StorePath
	number uint32
	temp   string // the name that its file gets
	file   identity
	gone   bool // there is no file
}

func (c *collection) sweepSome(ctx context.Context, batch []uint32, spared bitmap, bin *bin) error {
	corpses, err := c.invalidate(ctx, batch, spared)
	if len(corpses) == 0 {
		return err
	}
	paths := make([]store.StorePath, len(corpses))
	for i, d := range corpses {
		paths[i] = d.path
	}
	defer c.s.claims.release(paths)
	if err != nil {
		return err
	}
	for _, p := range paths {
		c.s.numbers.forget(p)
	}
	c.result.Paths = append(c.result.Paths, paths...)
	err = c.s.point(pointInvalid)
	if err == nil && c.s.onDelete != nil {
		if failed := c.s.onDelete(ctx, paths); failed != nil {
			c.s.log.Warn("deleted paths may still be shown", "paths", len(paths), "err", failed)
		}
	}
	for _, d := range corpses {
		if err != nil {
			return err // the intents stay, the next Open deletes the rest
		}
		err = c.s.bury(d, bin)
	}
	return err
}

// invalidate makes those of a batch invalid that nobody has begun to use since they were found dead. It returns them with
// their paths claimed, also with an error.
func (c *collection) invalidate(ctx context.Context, batch []uint32, spared bitmap) (corpses []corpse, err error) {
	candidates := make([]corpse, len(batch))
	for k, i := range batch {
		d := &candidates[k]
		d.number = c.heap.numbers[i]
		if d.path, err = c.s.name(c.s.db, d.number); err != nil {
			return nil, err
		}
		d.file, err = identify(c.s.objects, d.path.String())
		if d.gone = err == unix.ENOENT; err != nil && !d.gone {
			return nil, fmt.Errorf("%s: %w", c.s.ObjectPath(d.path), err)
		}
		if !d.gone {
			if d.temp, err = c.s.temps.fresh(); err != nil {
				return nil, err
			}
		}
	}
	release, err := c.s.commits.hold(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	corpses, done := c.doom(batch, candidates, spared)
	defer done()
	if len(corpses) > 0 {
		err = c.s.db.change(true, func(b *pebble.Batch) error { return c.s.eraseAll(b, corpses) })
	}
	return corpses, err
}

// doom decides which of a batch die. Until done is called nobody gets a temp root for them. No registration commits
// meanwhile, because the caller holds the token.
func (c *collection) doom(batch []uint32, candidates []corpse, spared bitmap) (corpses []corpse, done func()) {
	r := &c.s.roots
	invalid := make(chan struct{})
	var unused []string
	defer func() {
		for _, temp := range unused {
			c.s.temps.done(temp)
		}
	}()
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, i := range batch {
		d := candidates[k]
		if spared.has(i) || r.referred[d.number] || r.touched[d.path] || !c.s.claims.try(d.path) {
			// Its references come later in the order, so none of them is deleted yet.
			spared.add(i)
			for _, j := range c.heap.references(i) {
				spared.add(j)
			}
			if !d.gone {
				unused = append(unused, d.temp)
			}
			continue
		}
		r.doomed[d.path] = invalid
		corpses = append(corpses, d)
	}
	return corpses, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, d := range corpses {
			delete(r.doomed, d.path)
		}
		close(invalid)
	}
}

// eraseAll writes the deletion of everything that is known about paths, and the notes of the renames that follow.
func (s *Store) eraseAll(b *pebble.Batch, corpses []corpse) error {
	w := &batchWriter{b: b}
	realised := false
	err := s.db.scan([]byte{tableRealises}, func(_, _ []byte) (bool, error) {
		realised = true
		return false, nil
	})
	if err != nil {
		return err
	}
	for _, d := range corpses {
		if err := s.erase(w, d, realised); err != nil {
			return err
		}
		if !d.gone {
			w.set(intentKey(d.path.String(), d.temp), intent{remove, d.file}.encode())
		}
	}
	return w.err
}

func (s *Store) erase(w *batchWriter, d corpse, realised bool) error {
	refs, err := s.references(s.db, nil, d.number)
	if err != nil {
		return err
	}
	for _, n := range refs {
		w.delete(referrerKey(n, d.number))
	}
	if d.path.IsDerivation() {
		outputs, err := s.outputs(s.db, d.number)
		if err != nil {
			return err
		}
		for _, o := range outputs {
			if !o.path.IsZero() {
				w.delete(deriverKey(o.path, d.number))
			}
		}
		w.delete(numberKey(tableOutputs, d.number))
	}
	if realised {
		prefix := numberKey(tableRealises, d.number)
		err := s.db.scan(prefix, func(key, _ []byte) (bool, error) {
			w.delete(append([]byte{tableRealisation}, key[len(prefix):]...))
			w.delete(key)
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	w.delete(pathKey(d.path))
	for _, table := range []byte{tableName, tableInfo, tableReferences, tableLastUse} {
		w.delete(numberKey(table, d.number))
	}
	return w.err
}

// bury gives the file of a path that is not valid any more a temporary name.
func (s *Store) bury(d corpse, bin *bin) error {
	if d.gone {
		return nil
	}
	if err := s.point(pointTrash); err != nil {
		return err
	}
	if err := renameNew(s.objects, d.path.String(), d.temp); err != nil {
		return fmt.Errorf("deleting %s: %w", s.ObjectPath(d.path), err)
	}
	s.settled.add(intentKey(d.path.String(), d.temp))
	bin.add(d.temp)
	return nil
}
