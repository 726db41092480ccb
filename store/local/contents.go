package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"larder/nar"
	"larder/nar/tree"
	"larder/store"
)

// isNull tells whether a NAR hash says that nobody knows it: real Nix registers such where it did not look at the contents.
func isNull(h store.Hash) bool {
	return h.Algo() == store.SHA256 && !slices.ContainsFunc(h.Bytes(), func(b byte) bool { return b != 0 })
}

// CheckObject tells whether the object of a present path is there at all. The error wraps store.ErrDamaged if not.
func (s *Store) CheckObject(ctx context.Context, p store.StorePath) error {
	_, err := s.checkObject(ctx, p)
	return err
}

func (s *Store) checkObject(ctx context.Context, p store.StorePath) (entry, error) {
	if err := ctx.Err(); err != nil {
		return entry{}, err
	}
	if err := s.db.enter(); err != nil {
		return entry{}, err
	}
	defer s.db.leave()
	e, err := s.validEntry(s.db, "check", p)
	if err != nil || e.state != Present {
		return e, err
	}
	var st unix.Stat_t
	if err := tree.LstatAt(s.objects, p.String(), &st); err == unix.ENOENT {
		return e, s.damaged(p, errors.New("the object is missing"))
	} else if err != nil {
		return e, &store.PathError{Op: "check", Dir: s.dir, Path: p, Err: err}
	}
	return e, nil
}

// CheckContents reads the object of a valid path. The error wraps store.ErrDamaged if it is not what was registered: missing,
// unreadable, or of another NAR hash. A path with a null hash is good: nobody knows better. So is one that is only promised.
func (s *Store) CheckContents(ctx context.Context, p store.StorePath) error {
	e, err := s.checkObject(ctx, p)
	if err != nil || e.state != Present {
		return err
	}
	i, err := s.info(s.db, e.number)
	if err != nil || isNull(i.narHash) {
		return err
	}
	h := sha256.New()
	_, err = nar.DumpAt(ctx, h, s.objects, p.String())
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case isShortage(err):
		return &store.PathError{Op: "check", Dir: s.dir, Path: p, Err: err}
	case err != nil:
		return s.damaged(p, err)
	}
	if got := store.SumOf(store.SHA256, h); got != i.narHash {
		return s.damaged(p, fmt.Errorf("expected hash %s, got %s", i.narHash.Text(store.SRI), got.Text(store.SRI)))
	}
	return nil
}

// isShortage tells whether an error says something about this process or machine, and nothing about what it read.
func isShortage(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EACCES, unix.EPERM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (s *Store) damaged(p store.StorePath, err error) error {
	return &store.PathError{Op: "check", Dir: s.dir, Path: p, Err: fmt.Errorf("%w: %w", store.ErrDamaged, err)}
}
