package local

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"larder/nar/tree"
	"larder/store"
)

// Unregistered returns the names in the object directory that belong to no present path and are not this store's temporary
// ones: what real Nix added meanwhile, say, or what a user put there.
func (s *Store) Unregistered(ctx context.Context) ([]string, error) {
	if err := s.db.enter(); err != nil {
		return nil, err
	}
	defer s.db.leave()
	return s.unregistered(ctx)
}

func (s *Store) unregistered(ctx context.Context) (found []string, err error) {
	fd, err := tree.OpenAt(s.objects, ".", tree.DirFlags, 0)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", s.objectDir, err)
	}
	defer unix.Close(fd)
	buf := make([]byte, 64<<10)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var n int
		err := tree.Retry(func() error {
			n, err = unix.ReadDirent(fd, buf)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", s.objectDir, err)
		}
		if n <= 0 {
			return found, nil
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			ours, err := s.isOurs(name)
			if err != nil {
				return nil, err
			}
			if !ours {
				found = append(found, name)
			}
		}
	}
}

func (s *Store) isOurs(name string) (bool, error) {
	if _, err := s.temps.parse(name); err == nil || name == LinksDir {
		return true, nil
	}
	p, err := store.ParseStorePath(name)
	if err != nil {
		return false, nil
	}
	e, ok, err := s.entry(s.db, p)
	if err != nil || ok && e.state == Present {
		return true, err
	}
	// A registration that is under way has its object in place before it is valid.
	if !s.claims.try(p) {
		return true, nil
	}
	defer s.claims.release([]store.StorePath{p})
	e, ok, err = s.entry(s.db, p)
	return ok && e.state == Present, err
}

// sweepUnregistered reports what is not registered and deletes it if that was asked for, as far as it has a name that a store
// makes.
func (c *collection) sweepUnregistered(ctx context.Context) error {
	names, err := c.s.unregistered(ctx)
	if err != nil {
		return err
	}
	c.result.Unregistered = names
	if c.o.DryRun || c.o.KeepUnregistered {
		return nil
	}
	var errs []error
	for _, name := range names {
		if c.o.MaxFreed > 0 && c.result.BytesFreed >= c.o.MaxFreed {
			break
		}
		freed, err := c.s.removeUnregistered(ctx, name)
		c.result.BytesFreed += freed
		if err != nil {
			errs = append(errs, fmt.Errorf("deleting %s/%s: %w", c.s.objectDir, name, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) removeUnregistered(ctx context.Context, name string) (freed int64, err error) {
	p, err := store.ParseStorePath(name)
	if err != nil {
		if !isTemp(name) {
			return 0, nil // nobody knows what it is
		}
		return tree.RemoveAt(ctx, s.objects, name)
	}
	if !s.claims.try(p) {
		return 0, nil
	}
	defer s.claims.release([]store.StorePath{p})
	if e, ok, err := s.entry(s.db, p); err != nil || ok && e.state == Present {
		return 0, err
	}
	return tree.RemoveAt(ctx, s.objects, name)
}
