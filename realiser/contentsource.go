package realiser

import (
	"context"
	"errors"

	"larder/store"
)

// ContentSource is a Substituter that may call objects by other names than we do: that of another store directory. What
// follows from its content alone is the same object there.
type ContentSource interface {
	Substituter
	// Foreign reports whether its paths are those of another store directory.
	Foreign(ctx context.Context) bool
	// ContentNarInfo is NarInfo for the object with a content address, which it may have under another path. What it returns
	// is about p.
	ContentNarInfo(ctx context.Context, p store.StorePath, ca store.ContentAddress) (*store.NarInfo, error)
}

// askNarInfo asks a substituter for a path, and one of another store directory for its content if that is known.
func (r *Realiser) askNarInfo(ctx context.Context, s Substituter, p store.StorePath) (*store.NarInfo, error) {
	n, err := s.NarInfo(ctx, p)
	if !errors.Is(err, store.ErrNotFound) {
		return n, err
	}
	foreign, ok := s.(ContentSource)
	if !ok || !foreign.Foreign(ctx) {
		return nil, err
	}
	ca, failed := r.contentAddress(ctx, p)
	if failed != nil {
		return nil, failed
	}
	if ca.IsZero() {
		return nil, err
	}
	return foreign.ContentNarInfo(ctx, p, ca)
}

// contentAddress is what a path is known to contain because a derivation fixes it; zero if none does.
func (r *Realiser) contentAddress(ctx context.Context, p store.StorePath) (ca store.ContentAddress, err error) {
	derivers, err := r.store.ValidDerivers(ctx, p)
	if err != nil {
		return ca, err
	}
	for _, drvPath := range store.SortPaths(derivers) {
		drv, err := r.store.Derivation(ctx, drvPath)
		if err != nil {
			return ca, err
		}
		for _, o := range drv.Outputs {
			if o.Path != p || o.CA.IsZero() {
				continue
			}
			// The derivation may claim another's path.
			if follows, err := r.dir.ContentPath(p.Name(), o.CA, store.References{}); err == nil && follows == p {
				return o.CA, nil
			}
		}
	}
	return ca, nil
}
