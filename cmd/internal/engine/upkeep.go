package engine

import (
	"context"
	"errors"

	"larder/cmd/internal/control"
	"larder/realiser"
	"larder/store"
)

// Verify implements control.Service.
func (e *Engine) Verify(ctx context.Context, who store.Caller, q control.VerifyRequest) (*control.VerifyResult, error) {
	res := &control.VerifyResult{Bad: []control.BadPath{}}
	check := e.store.CheckObject
	if q.Contents {
		check = e.store.CheckContents
	}
	look := func(p store.StorePath) error {
		res.Checked++
		err := check(ctx, p)
		if errors.Is(err, store.ErrDamaged) {
			res.Bad = append(res.Bad, control.BadPath{Path: p, Problem: err.Error()})
			return nil
		}
		return err
	}
	for _, p := range q.Paths {
		if err := look(p); err != nil {
			return nil, err
		}
	}
	if q.All {
		for p, err := range e.store.AllValid(ctx) {
			if err == nil {
				err = look(p)
			}
			if err != nil && !errors.Is(err, store.ErrNotValid) { // it was deleted meanwhile
				return nil, err
			}
		}
	}
	var err error
	if q.All && q.Contents {
		if res.BadLinks, err = e.store.CheckLinks(ctx, q.Repair); err != nil {
			return nil, err
		}
	}
	if q.Repair && len(res.Bad) > 0 {
		err = e.repair(ctx, who, res.Bad)
	}
	return res, err
}

// repair repairs paths, each by itself, and notes what became of it.
func (e *Engine) repair(ctx context.Context, who store.Caller, bad []control.BadPath) error {
	r, err := e.Realiser(ctx)
	if err != nil {
		return err
	}
	targets := make([]realiser.Target, len(bad))
	for i, b := range bad {
		targets[i].Path = b.Path
	}
	outcome, err := r.Build(ctx, who, realiser.Request{Targets: targets, Mode: realiser.ModeRepairPath, KeepGoing: true})
	if err != nil {
		return err
	}
	for i, o := range outcome.Results {
		if bad[i].Repaired = o.Err == nil; o.Err != nil {
			bad[i].Failure = o.Err.Error()
		}
	}
	return nil
}

// Optimise implements control.Service.
func (e *Engine) Optimise(ctx context.Context) (*control.OptimiseResult, error) {
	r, err := e.store.Optimise(ctx)
	if err != nil {
		return nil, err
	}
	return &control.OptimiseResult{Files: r.Files, Freed: uint64(r.Bytes)}, nil
}
