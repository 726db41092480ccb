package realiser

import (
	"context"
	"errors"

	"larder/store"
)

// What a plan asks of substituters. One that fails is a warning, and hands on to the next.

// queryAll returns the narinfos of all paths, or nil if substituters do not have all of them.
func (p *planner) queryAll(ctx context.Context, paths []store.StorePath, f *finding) ([]*store.NarInfo, error) {
	var infos []*store.NarInfo
	for _, path := range paths {
		info, err := p.query(ctx, path, f)
		if info == nil || err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// query returns the first narinfo that a substituter has for path, or nil.
func (p *planner) query(ctx context.Context, path store.StorePath, f *finding) (*store.NarInfo, error) {
	substituters, err := p.sources.ordered(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range substituters {
		info, err := p.askNarInfo(ctx, s, path)
		switch {
		case err == nil:
			return info, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !errors.Is(err, store.ErrNotFound):
			f.warnings = append(f.warnings, err.Error())
		}
	}
	return nil, nil
}

// queryRealisation returns the path that a substituter says an output has.
func (p *planner) queryRealisation(ctx context.Context, d *drvRun, id store.DrvOutput, output string, f *finding) (path store.StorePath, ok bool) {
	if id.Output == "" {
		return path, false // impure
	}
	substituters, err := p.sources.ordered(ctx)
	if err != nil {
		return path, false
	}
	for _, s := range substituters {
		knows, ok := s.(Realisations)
		if !ok {
			continue
		}
		r, err := d.queryRealisation(ctx, knows, id, output)
		switch {
		case err == nil:
			return r.OutPath, true
		case ctx.Err() == nil && !errors.Is(err, store.ErrNotFound):
			f.warnings = append(f.warnings, err.Error())
		}
	}
	return path, false
}
