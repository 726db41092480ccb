package local

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"larder/store"
)

// entry looks up whether p is valid.
func (s *Store) entry(r reader, p store.StorePath) (entry, bool, error) {
	key := pathKey(p)
	b, err := r.get(key)
	if err != nil || b == nil {
		return entry{}, false, err
	}
	e, err := decodeEntry(b)
	if err != nil {
		return entry{}, false, corrupt(key, err)
	}
	return e, true, nil
}

// validEntry is entry of a path that must be valid.
func (s *Store) validEntry(r reader, op string, p store.StorePath) (entry, error) {
	e, ok, err := s.entry(r, p)
	if err == nil && !ok {
		err = store.ErrNotValid
	}
	if err != nil {
		return entry{}, &store.PathError{Op: op, Dir: s.dir, Path: p, Err: err}
	}
	return e, nil
}

// name is the path of a registered number.
func (s *Store) name(r reader, n uint32) (store.StorePath, error) {
	key := numberKey(tableName, n)
	b, err := r.get(key)
	if err != nil {
		return store.StorePath{}, err
	}
	p, err := decodePath(b)
	if err != nil {
		return p, corrupt(key, err)
	}
	return p, nil
}

func (s *Store) names(r reader, numbers []uint32) ([]store.StorePath, error) {
	order := ascending(numbers)
	sorted := make([]uint32, len(order))
	for k, i := range order {
		sorted[k] = numbers[i]
	}
	paths := make([]store.StorePath, len(numbers))
	err := r.each(tableName, sorted, func(k int, value []byte) (err error) {
		if paths[order[k]], err = decodePath(value); err != nil {
			err = corrupt(numberKey(tableName, sorted[k]), err)
		}
		return err
	})
	return paths, err
}

// info is the record of a registered number, without path and references.
func (s *Store) info(r reader, n uint32) (*info, error) {
	key := numberKey(tableInfo, n)
	b, err := r.get(key)
	if err != nil {
		return nil, err
	}
	i, err := decodeInfo(b)
	if err != nil {
		return nil, corrupt(key, err)
	}
	return i, nil
}

// references appends the numbers that n refers to.
func (s *Store) references(r reader, list []uint32, n uint32) ([]uint32, error) {
	key := numberKey(tableReferences, n)
	b, err := r.get(key)
	if err != nil {
		return nil, err
	}
	if list, err = appendNumbers(list, b); err != nil {
		return nil, corrupt(key, err)
	}
	return list, nil
}

// view runs f on the database as it is at this moment.
func (s *Store) view(ctx context.Context, f func(r reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	snap, err := s.db.snapshot()
	if err != nil {
		return err
	}
	defer snap.close()
	return f(snap)
}

// PathInfo returns what is known about a valid path; references are sorted. The caller owns the result. The error wraps
// store.ErrNotValid or store.ErrCorrupt.
func (s *Store) PathInfo(ctx context.Context, p store.StorePath) (result *store.PathInfo, err error) {
	err = s.view(ctx, func(r reader) error {
		e, err := s.validEntry(r, "path info of", p)
		if err != nil {
			return err
		}
		i, err := s.info(r, e.number)
		if err != nil {
			return err
		}
		if (i.promise != nil) != (e.state == Promised) {
			return corrupt(numberKey(tableInfo, e.number), errors.New("it contradicts the path's state"))
		}
		numbers, err := s.references(r, nil, e.number)
		if err != nil {
			return err
		}
		refs, err := s.names(r, numbers)
		if err != nil {
			return err
		}
		result = &store.PathInfo{
			Path: p, NarHash: i.narHash, NarSize: i.narSize, References: store.SortPaths(refs), Deriver: i.deriver, CA: i.ca,
			Signatures: i.signatures, RegistrationTime: i.registered, Ultimate: i.ultimate,
		}
		return nil
	})
	return result, err
}

// Valid tells of each path whether it is valid: present or promised.
func (s *Store) Valid(ctx context.Context, paths []store.StorePath) ([]bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	valid := make([]bool, len(paths))
	for i, p := range paths {
		_, ok, err := s.entry(s.db, p)
		if err != nil {
			return nil, err
		}
		valid[i] = ok
	}
	return valid, nil
}

// IsPresent tells whether the object of p is registered and here. It reads the database's cache, at worst the disk, and
// never waits for work under way; a database that can't be read counts as no.
func (s *Store) IsPresent(p store.StorePath) bool {
	e, ok, err := s.entry(s.db, p)
	if err != nil {
		s.log.Error("looking up a path", "path", p, "err", err)
	}
	return ok && err == nil && e.state == Present
}

// References returns what a valid path refers to, sorted.
func (s *Store) References(ctx context.Context, p store.StorePath) (result []store.StorePath, err error) {
	err = s.view(ctx, func(r reader) error {
		e, err := s.validEntry(r, "references of", p)
		if err != nil {
			return err
		}
		numbers, err := s.references(r, nil, e.number)
		if err != nil {
			return err
		}
		result, err = s.sortedNames(r, numbers)
		return err
	})
	return result, err
}

// Referrers returns the valid paths that refer to a valid path, itself included if it does, sorted.
func (s *Store) Referrers(ctx context.Context, p store.StorePath) (result []store.StorePath, err error) {
	err = s.view(ctx, func(r reader) error {
		e, err := s.validEntry(r, "referrers of", p)
		if err != nil {
			return err
		}
		numbers, err := s.referrers(r, e.number)
		if err != nil {
			return err
		}
		result, err = s.sortedNames(r, numbers)
		return err
	})
	return result, err
}

func (s *Store) referrers(r reader, n uint32) (list []uint32, err error) {
	err = r.scan(numberKey(tableReferrers, n), func(key, _ []byte) (bool, error) {
		if len(key) != 9 {
			return false, corrupt(key, errRecordEnd)
		}
		list = append(list, lastNumber(key))
		return true, nil
	})
	return list, err
}

func (s *Store) sortedNames(r reader, numbers []uint32) ([]store.StorePath, error) {
	paths, err := s.names(r, numbers)
	slices.SortFunc(paths, store.StorePath.Compare)
	return paths, err
}

// PathFromHashPart returns the valid path with that digest; the error wraps store.ErrNotValid if there is none.
func (s *Store) PathFromHashPart(ctx context.Context, digest [20]byte) (p store.StorePath, err error) {
	if err := ctx.Err(); err != nil {
		return p, err
	}
	err = s.db.scan(digestKey(tablePath, digest), func(key, _ []byte) (bool, error) {
		p, err = pathOfKey(key)
		return false, err
	})
	if err == nil && p.IsZero() {
		err = fmt.Errorf("digest %s: %w", store.EncodeNix32(digest[:]), store.ErrNotValid)
	}
	return p, err
}

func pathOfKey(key []byte) (store.StorePath, error) {
	if len(key) <= 1+digestSize {
		return store.StorePath{}, corrupt(key, errRecordEnd)
	}
	p, err := store.NewStorePath([digestSize]byte(key[1:]), string(key[1+digestSize:]))
	if err != nil {
		return p, corrupt(key, err)
	}
	return p, nil
}

// AllValid yields every path that was valid when the iteration began, in no useful order. After an error it ends.
func (s *Store) AllValid(ctx context.Context) iter.Seq2[store.StorePath, error] {
	return func(yield func(store.StorePath, error) bool) {
		stopped := false
		err := s.view(ctx, func(r reader) error {
			return r.scan([]byte{tablePath}, func(key, _ []byte) (bool, error) {
				if err := ctx.Err(); err != nil {
					return false, err
				}
				p, err := pathOfKey(key)
				if err != nil {
					return false, err
				}
				stopped = !yield(p, nil)
				return !stopped, nil
			})
		})
		if err != nil && !stopped {
			yield(store.StorePath{}, err)
		}
	}
}
