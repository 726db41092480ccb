package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"larder/cmd/internal/control"
	"larder/nar"
	"larder/realiser"
	"larder/store"
	"larder/store/derivation"
)

// Dir implements control.Service.
func (e *Engine) Dir() store.Dir { return e.store.Dir() }

// Hello implements control.Service.
func (e *Engine) Hello(context.Context) (*control.Hello, error) {
	h := &control.Hello{Version: control.Version, Program: e.opt.Version, StoreDir: e.store.Dir(), StateDir: e.store.StateDir(), Mount: e.opt.Mount}
	if e.opt.Daemon {
		h.PID = os.Getpid()
	}
	return h, nil
}

// PathInfo implements control.Service.
func (e *Engine) PathInfo(ctx context.Context, p store.StorePath) (*store.PathInfo, error) {
	return e.store.PathInfo(ctx, p)
}

// Query implements control.Service.
func (e *Engine) Query(ctx context.Context, relation control.Relation, paths []store.StorePath) ([]store.StorePath, error) {
	if relation == control.Closure {
		return e.store.Closure(ctx, paths)
	}
	each := map[control.Relation]func(context.Context, store.StorePath) ([]store.StorePath, error){
		control.References: e.store.References,
		control.Referrers:  e.store.Referrers,
		control.Deriver:    e.derivers,
	}[relation]
	if each == nil {
		return nil, fmt.Errorf("unknown relation %q", string(relation))
	}
	all := []store.StorePath{}
	for _, p := range paths {
		found, err := each(ctx, p)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return store.SortPaths(all), nil
}

// derivers are the derivation that is known to have made p, else the registered ones that would. None is ErrNotFound.
func (e *Engine) derivers(ctx context.Context, p store.StorePath) ([]store.StorePath, error) {
	info, err := e.store.PathInfo(ctx, p)
	if err == nil && !info.Deriver.IsZero() {
		return []store.StorePath{info.Deriver}, nil
	}
	if err != nil && !errors.Is(err, store.ErrNotValid) {
		return nil, err
	}
	list, failed := e.store.ValidDerivers(ctx, p)
	if failed != nil {
		return nil, failed
	}
	if len(list) == 0 {
		if err == nil {
			err = store.ErrNotFound
		}
		return nil, fmt.Errorf("no derivation of %s is known: %w", e.Dir().Join(p), err)
	}
	return list, nil
}

// Outputs implements control.Service.
func (e *Engine) Outputs(ctx context.Context, drv store.StorePath) (map[string]store.StorePath, error) {
	if !drv.IsDerivation() {
		return nil, fmt.Errorf("%s is not a derivation, so it has no outputs", e.Dir().Join(drv))
	}
	return e.store.Outputs(ctx, drv)
}

// Realisation implements control.Service.
func (e *Engine) Realisation(ctx context.Context, id store.DrvOutput) (*store.Realisation, error) {
	return e.store.Realisation(ctx, id)
}

// Realisations implements control.Service.
func (e *Engine) Realisations(ctx context.Context, p store.StorePath) ([]*store.Realisation, error) {
	return e.store.Realisations(ctx, p)
}

// Derivation implements control.Service.
func (e *Engine) Derivation(ctx context.Context, drv store.StorePath) (*derivation.Derivation, error) {
	if !drv.IsDerivation() {
		return nil, fmt.Errorf("%s is not a derivation: its name does not end in .drv", e.Dir().Join(drv))
	}
	return e.store.Derivation(ctx, drv)
}

// DumpNAR implements control.Service.
func (e *Engine) DumpNAR(ctx context.Context, w io.Writer, p store.StorePath) error {
	return e.store.DumpNAR(ctx, w, p)
}

// PathFromHashPart returns the valid path with a digest.
func (e *Engine) PathFromHashPart(ctx context.Context, digest [20]byte) (store.StorePath, error) {
	return e.store.PathFromHashPart(ctx, digest)
}

// Listing lists the NAR of a valid path.
func (e *Engine) Listing(ctx context.Context, p store.StorePath) (*nar.Listing, error) {
	if _, err := e.store.PathInfo(ctx, p); err != nil {
		return nil, err
	}
	return nar.ListTree(ctx, e.store.ObjectPath(p))
}

// Log implements control.Service.
func (e *Engine) Log(ctx context.Context, p store.StorePath) (io.ReadCloser, error) {
	r, err := e.Realiser(ctx)
	if err != nil {
		return nil, err
	}
	return r.ReadLog(ctx, p)
}

// Plan implements control.Service.
func (e *Engine) Plan(ctx context.Context, targets []realiser.Target) (*realiser.Plan, error) {
	r, err := e.Realiser(ctx)
	if err != nil {
		return nil, err
	}
	return r.Plan(ctx, targets)
}

// Why implements control.Service.
func (e *Engine) Why(ctx context.Context, p store.StorePath) (*realiser.Explanation, error) {
	r, err := e.Realiser(ctx)
	if err != nil {
		return nil, err
	}
	return r.Why(ctx, p)
}

// Status implements control.Service.
func (e *Engine) Status(ctx context.Context) (*control.Status, error) {
	hello, err := e.Hello(ctx)
	if err != nil {
		return nil, err
	}
	s := &control.Status{Hello: *hello, Substituters: slices.Clone(e.config.Substituters)}
	for _, err := range e.store.AllValid(ctx) {
		if err != nil {
			return nil, err
		}
		s.Paths++
	}
	e.mu.Lock()
	r := e.realiser
	e.mu.Unlock()
	if r != nil {
		s.Realiser = r.Status()
	}
	return s, nil
}

// Roots implements control.Service.
func (e *Engine) Roots(ctx context.Context) ([]control.Root, error) {
	found, err := e.store.Roots(ctx)
	if err != nil {
		return nil, err
	}
	roots := make([]control.Root, 0, len(found))
	for _, r := range found {
		roots = append(roots, control.Root{Path: r.Path, Link: r.Link})
	}
	return roots, nil
}

// AddRoot implements control.Service.
func (e *Engine) AddRoot(ctx context.Context, link string) error {
	return e.store.AddIndirectRoot(ctx, link)
}
