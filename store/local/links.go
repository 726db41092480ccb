package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"larder/nar"
	"larder/nar/tree"
	"larder/store"
)

// LinksDir is the directory in the object directory that has a link to each file that objects share, called by the hash of
// the file as a NAR. Name and content are real Nix's, so that a store that both work on is shared by both. It is no object, and
// who shows the store does not show it.
const LinksDir = ".links"

// openLinks opens the directory of links; unix.ENOENT if there is none and none shall be made.
func (s *Store) openLinks(create bool) (fd int, err error) {
	if create {
		err := tree.Retry(func() error { return unix.Mkdirat(s.objects, LinksDir, 0o755) })
		if err != nil && err != unix.EEXIST {
			return -1, fmt.Errorf("making %s/%s: %w", s.objectDir, LinksDir, err)
		}
	}
	return openBelow(s.objects, LinksDir, unix.O_RDONLY|unix.O_DIRECTORY)
}

// linksOfFreed is how many names a file has of which GC removes the last that counts: the directory of links has another,
// which sweepLinks removes.
func (s *Store) linksOfFreed() uint64 {
	fd, err := s.openLinks(false)
	if err != nil {
		return 1
	}
	unix.Close(fd)
	return 2
}

// eachLink calls f with the names in the directory of links.
func (s *Store) eachLink(ctx context.Context, f func(dir int, name string) error) error {
	dir, err := s.openLinks(false)
	if err == unix.ENOENT {
		return nil
	}
	if err == nil {
		defer unix.Close(dir)
		var names []string
		if names, err = tree.ReadNames(dir); err == nil {
			for _, name := range names {
				if err := errors.Join(ctx.Err(), f(dir, name)); err != nil {
					return err
				}
			}
		}
	}
	if err != nil {
		return fmt.Errorf("reading %s/%s: %w", s.objectDir, LinksDir, err)
	}
	return nil
}

// sweepLinks removes the links to files that no object has any more. One that gets an object at this very moment keeps that; it
// is only shared no further.
func (s *Store) sweepLinks(ctx context.Context) error {
	return s.eachLink(ctx, func(dir int, name string) error {
		var st unix.Stat_t
		err := tree.LstatAt(dir, name, &st)
		if err == nil && st.Nlink == 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			err = tree.UnlinkAt(dir, name, 0)
		}
		if err != nil && err != unix.ENOENT {
			return fmt.Errorf("unlinking %s/%s/%s: %w", s.objectDir, LinksDir, name, err)
		}
		return nil
	})
}

// CheckLinks returns the names of the shared files whose contents are not what their names say, and with remove unlinks them
// there, so that nothing is linked to them any more. The objects that have them are damaged, which CheckContents finds.
func (s *Store) CheckLinks(ctx context.Context, remove bool) (bad []string, err error) {
	if remove {
		if err := s.writable(); err != nil {
			return nil, err
		}
	}
	if err := s.db.enter(); err != nil {
		return nil, err
	}
	defer s.db.leave()
	err = s.eachLink(ctx, func(dir int, name string) error {
		h := sha256.New()
		if _, err := nar.DumpAt(ctx, h, dir, name); ctx.Err() != nil || errors.Is(err, unix.ENOENT) || isShortage(err) {
			return ctx.Err()
		} else if err == nil && store.SumOf(store.SHA256, h).Encode(store.Nix32) == name {
			return nil
		}
		bad = append(bad, name)
		if !remove {
			return nil
		}
		if _, err := tree.RemoveAt(ctx, dir, name); err != nil {
			return fmt.Errorf("unlinking %s/%s/%s: %w", s.objectDir, LinksDir, name, err)
		}
		return nil
	})
	return bad, err
}
