package remote

import (
	"context"
	"errors"
	"fmt"

	"larder/store"
	"larder/store/wire"
)

// PathInfo returns what the daemon knows about a path. The error matches
// store.ErrNotValid if it is not valid there.
func (s *Store) PathInfo(ctx context.Context, p store.StorePath) (*store.PathInfo, error) {
	var reply wire.OptPathInfo
	if err := s.do(ctx, &wire.QueryPathInfo{Path: p}, &reply); err != nil {
		return nil, err
	}
	if reply.Info == nil {
		return nil, &store.PathError{Op: "query " + s.String() + " for", Dir: s.opt.Dir, Path: p, Err: store.ErrNotValid}
	}
	reply.Info.Path = p
	return reply.Info, nil
}

// IsValid reports whether a path is valid.
func (s *Store) IsValid(ctx context.Context, p store.StorePath) (bool, error) {
	var reply wire.Bool
	err := s.do(ctx, &wire.IsValidPath{Path: p}, &reply)
	return reply.Value, err
}

// Valid returns those of the paths that are valid.
func (s *Store) Valid(ctx context.Context, paths []store.StorePath) ([]store.StorePath, error) {
	return s.paths(ctx, &wire.QueryValidPaths{Paths: paths})
}

// All returns all valid paths.
func (s *Store) All(ctx context.Context) ([]store.StorePath, error) {
	return s.paths(ctx, &wire.QueryAllValidPaths{})
}

// Referrers returns the valid paths that refer to p.
func (s *Store) Referrers(ctx context.Context, p store.StorePath) ([]store.StorePath, error) {
	return s.paths(ctx, &wire.QueryReferrers{Path: p})
}

// ValidDerivers returns the valid derivations that have p as an output.
func (s *Store) ValidDerivers(ctx context.Context, p store.StorePath) ([]store.StorePath, error) {
	return s.paths(ctx, &wire.QueryValidDerivers{Path: p})
}

func (s *Store) paths(ctx context.Context, req wire.Request) ([]store.StorePath, error) {
	var reply wire.Paths
	err := s.do(ctx, req, &reply)
	return reply.Paths, err
}

// PathFromHashPart returns the valid path that begins with 32 characters of nix32,
// or an error that matches store.ErrNotFound.
func (s *Store) PathFromHashPart(ctx context.Context, part string) (store.StorePath, error) {
	var reply wire.OptPath
	if err := s.do(ctx, &wire.QueryPathFromHashPart{HashPart: part}, &reply); err != nil {
		return store.StorePath{}, err
	}
	if reply.Path.IsZero() {
		return store.StorePath{}, fmt.Errorf("path with hash part %q in %s: %w", part, s, store.ErrNotFound)
	}
	return reply.Path, nil
}

// Outputs returns the outputs of a valid derivation; a zero path is not known yet.
func (s *Store) Outputs(ctx context.Context, drv store.StorePath) (map[string]store.StorePath, error) {
	var reply wire.OutputMap
	err := s.do(ctx, &wire.QueryDerivationOutputMap{Path: drv}, &reply)
	return reply.Outputs, err
}

// Missing returns what it would take to have the paths there.
func (s *Store) Missing(ctx context.Context, paths []wire.DerivedPath) (*wire.Missing, error) {
	var reply wire.Missing
	if err := s.do(ctx, &wire.QueryMissing{Paths: paths}, &reply); err != nil {
		return nil, err
	}
	return &reply, nil
}

// Priority is that of the options.
func (s *Store) Priority(context.Context) int { return s.opt.Order }

// NarInfo is PathInfo in the form of a binary cache. The error matches
// store.ErrNotFound if the path is not valid there.
func (s *Store) NarInfo(ctx context.Context, p store.StorePath) (*store.NarInfo, error) {
	info, err := s.PathInfo(ctx, p)
	if errors.Is(err, store.ErrNotValid) {
		return nil, &store.PathError{Op: "query " + s.String() + " for", Dir: s.opt.Dir, Path: p, Err: store.ErrNotFound}
	} else if err != nil {
		return nil, err
	}
	// What the daemon believes because it built it is no reason for us.
	info.Ultimate = false
	return &store.NarInfo{PathInfo: *info, Compression: "none"}, nil
}
