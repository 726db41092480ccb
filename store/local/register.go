package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"larder/store"
)

// Register makes objects valid, all or none of them. They must lie complete and canonical at their temporary names; what
// they refer to must be valid, or among them. When it returns nil they lie at their final names and that is durable.
//
// Register takes the temporary names over: whatever it returns, they are gone (after ErrClosed or ErrReadOnly, with the
// next Open). A path that is valid already keeps its object and info, and the new one is dropped. Keep a temp root or a
// root on the references, and on the paths if they shall stay.
//
// Errors: *store.PathError that wraps store.ErrNotValid for a missing reference; *CycleError; *OccupiedError; what
// derivation.Parse and Check find wrong with a .drv; ctx's, as long as the commit has not begun.
func (s *Store) Register(ctx context.Context, adds ...store.Addition) error {
	return s.takeOver(ctx, adds, s.register)
}

// takeOver does something with additions, after which their temporary names are gone.
func (s *Store) takeOver(ctx context.Context, adds []store.Addition, do func(context.Context, *registration) error) error {
	if err := s.writable(); err != nil {
		return err
	}
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	r, err := s.newRegistration(adds)
	if err == nil {
		err = do(ctx, r)
	}
	for _, a := range adds {
		if s.temps.check(a.Temp) == nil {
			err = errors.Join(err, s.DropTemp(a.Temp))
		}
	}
	return err
}

// registration is one call of Register on its way.
type registration struct {
	adds  []*adding
	paths []store.StorePath
	done  chan struct{} // closed when err is set
	err   error
}

// adding is one object of a registration.
type adding struct {
	info       *store.PathInfo
	temp       string
	references []store.StorePath // sorted
	outputs    []output          // of a .drv

	number    uint32
	refs      []uint32 // numbers of the references, sorted
	was       State    // 0 if it was not valid before
	file      identity // of what lies at temp
	intentKey []byte
	renamed   bool
}

// newRegistration checks what can be checked by looking at the additions alone.
func (s *Store) newRegistration(adds []store.Addition) (*registration, error) {
	r := &registration{done: make(chan struct{})}
	seen := map[store.StorePath]bool{}
	temps := map[string]bool{}
	for _, a := range adds {
		if a.Info == nil || a.Info.Path.IsZero() {
			return nil, fmt.Errorf("register: %q has no path info", a.Temp)
		}
		fail := func(format string, args ...any) (*registration, error) {
			return nil, &store.PathError{Op: "register", Dir: s.dir, Path: a.Info.Path, Err: fmt.Errorf(format, args...)}
		}
		switch {
		case a.Info.NarHash.Algo() != store.SHA256:
			return fail("its NAR hash must be a SHA-256")
		case seen[a.Info.Path] || temps[a.Temp]:
			return fail("it is listed twice")
		}
		if err := s.temps.check(a.Temp); err != nil {
			return fail("%w", err)
		}
		seen[a.Info.Path], temps[a.Temp] = true, true
		r.paths = append(r.paths, a.Info.Path)
		r.adds = append(r.adds, &adding{info: a.Info, temp: a.Temp, references: store.SortPaths(a.Info.References)})
	}
	return r, r.checkCycles()
}

func (s *Store) register(ctx context.Context, r *registration) error {
	if len(r.adds) == 0 {
		return ctx.Err()
	}
	if err := s.readDerivations(ctx, r); err != nil {
		return err
	}
	if s.autoOptimise {
		s.optimiseNew(ctx, r)
	}
	release, err := s.claims.take(ctx, r.paths)
	if err != nil {
		return err
	}
	defer release()
	return s.commits.run(ctx, r, s.commit)
}

// CycleError says that objects refer to each other in a circle. The first is repeated at the end.
type CycleError struct{ Paths []store.StorePath }

func (e *CycleError) Error() string {
	names := make([]string, len(e.Paths))
	for i, p := range e.Paths {
		names[i] = p.String()
	}
	return "these paths refer to each other in a circle: " + strings.Join(names, " -> ")
}

// checkCycles looks for a circle among the additions. There is none through valid paths: those can't refer to a path that
// is not valid yet.
func (r *registration) checkCycles() error {
	byPath := map[store.StorePath]*adding{}
	for _, a := range r.adds {
		byPath[a.info.Path] = a
	}
	const doing, finished = 1, 2
	state := map[store.StorePath]int{}
	var trail []store.StorePath
	var visit func(p store.StorePath) error
	visit = func(p store.StorePath) error {
		if byPath[p] == nil || state[p] == finished {
			return nil
		}
		if state[p] == doing {
			circle := slices.Clone(trail[slices.Index(trail, p):])
			return &CycleError{Paths: append(circle, p)}
		}
		state[p] = doing
		trail = append(trail, p)
		for _, q := range byPath[p].references {
			if q == p {
				continue // a reference to itself is fine
			}
			if err := visit(q); err != nil {
				return err
			}
		}
		trail = trail[:len(trail)-1]
		state[p] = finished
		return nil
	}
	for _, p := range r.paths {
		if err := visit(p); err != nil {
			return err
		}
	}
	return nil
}

// OccupiedError says that something that is not registered lies where an object should go. It was not made by this store
// and is left alone.
type OccupiedError struct {
	Path store.StorePath
	File string
}

func (e *OccupiedError) Error() string {
	return fmt.Sprintf("%s exists and is not a registered object: move it away", e.File)
}
