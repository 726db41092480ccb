package realiser

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"larder/store"
	"larder/store/derivation"
)

// Plan says what realising some targets would take.
type Plan struct {
	Build      []store.StorePath `json:"build"`      // derivations
	Substitute []store.StorePath `json:"substitute"` // paths
	Unknown    []store.StorePath `json:"unknown"`    // paths that nobody has and nothing makes

	DownloadSize uint64 `json:"downloadSize"` // bytes, as far as the substituters say
	UnpackedSize uint64 `json:"unpackedSize"` // bytes of NARs
	// Warnings are failures of substituters; what they have may be missing from the plan.
	Warnings []string `json:"warnings,omitempty"`
}

// planner walks from the targets to all that is missing, a generation at a time.
type planner struct {
	*Realiser
	build, substitute, unknown map[store.StorePath]bool
	seen                       map[string]bool // "path …", "drv …^out"
	download, unpacked         uint64
	warnings                   map[string]bool
}

// Plan works out what Build would do, and does nothing of it. It asks substituters, as
// Build would; one that fails is a warning. The error says that a target is senseless,
// that a derivation can't be read, or that ctx ended.
func (r *Realiser) Plan(ctx context.Context, targets []Target) (*Plan, error) {
	p := &planner{Realiser: r, seen: map[string]bool{}, warnings: map[string]bool{},
		build: map[store.StorePath]bool{}, substitute: map[store.StorePath]bool{}, unknown: map[store.StorePath]bool{}}
	for _, t := range targets {
		if err := t.check(); err != nil {
			return nil, err
		}
	}
	for generation := targets; len(generation) > 0; {
		var err error
		if generation, err = p.step(ctx, generation); err != nil {
			return nil, err
		}
	}
	sorted := func(m map[store.StorePath]bool) []store.StorePath {
		return store.SortPaths(slices.Collect(maps.Keys(m)))
	}
	return &Plan{Build: sorted(p.build), Substitute: sorted(p.substitute), Unknown: sorted(p.unknown),
		DownloadSize: p.download, UnpackedSize: p.unpacked, Warnings: slices.Sorted(maps.Keys(p.warnings))}, nil
}

// finding is what was found out about one target.
type finding struct {
	infos    []*store.NarInfo // to substitute
	build    bool             // Drv has to be built
	unknown  []store.StorePath
	next     []Target
	warnings []string
}

// step looks at all targets of a generation at once and returns the next.
func (p *planner) step(ctx context.Context, targets []Target) (next []Target, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxQueries)
	findings := make([]finding, len(targets))
	for i, t := range targets {
		if p.seen[t.String()] {
			continue
		}
		p.seen[t.String()] = true
		group.Go(func() (err error) {
			if t.Drv.IsZero() {
				findings[i], err = p.lookAtPath(ctx, t.Path)
			} else {
				findings[i], err = p.lookAtDrv(ctx, t)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, f := range findings {
		if f.build {
			p.build[targets[i].Drv] = true
		}
		for _, u := range f.unknown {
			p.unknown[u] = true
		}
		for _, w := range f.warnings {
			p.warnings[w] = true
		}
		for _, info := range f.infos {
			if p.substitute[info.Path] {
				continue
			}
			p.substitute[info.Path] = true
			p.download += info.FileSize
			p.unpacked += info.NarSize
			for _, ref := range info.References {
				if ref != info.Path {
					next = append(next, Target{Path: ref})
				}
			}
		}
		next = append(next, f.next...)
	}
	return next, nil
}

func (p *planner) lookAtPath(ctx context.Context, path store.StorePath) (f finding, err error) {
	if valid, err := p.valid(ctx, path); valid || err != nil {
		return f, err
	}
	derivers, err := p.derivers(ctx, path)
	if err != nil {
		return f, err
	}
	for _, drvPath := range derivers {
		drv, err := p.derivation(ctx, drvPath)
		if err != nil {
			return f, err
		}
		for name, o := range drv.Outputs {
			if o.Path == path {
				f.next = []Target{{Drv: drvPath, Outputs: []string{name}}}
				return f, nil
			}
		}
	}
	info, err := p.query(ctx, path, &f)
	if err != nil {
		return f, err
	}
	if info == nil {
		f.unknown = []store.StorePath{path}
	} else {
		f.infos = []*store.NarInfo{info}
	}
	return f, nil
}

func (p *planner) lookAtDrv(ctx context.Context, t Target) (f finding, err error) {
	drv, err := p.derivation(ctx, t.Drv)
	if errors.Is(err, store.ErrNotValid) {
		// What it would take beyond that can't be known before it is here.
		info, err := p.query(ctx, t.Drv, &f)
		if info == nil {
			f.unknown = []store.StorePath{t.Drv}
		} else {
			f.infos = []*store.NarInfo{info}
		}
		return f, err
	}
	if err != nil {
		return f, err
	}
	known, ids, err := p.outputPaths(ctx, drv)
	if err != nil {
		return f, err
	}
	if len(t.Through) > 0 {
		f.next, err = p.targetsThrough(ctx, t, known[t.Through[0]])
		return f, err
	}
	d := &drvRun{Realiser: p.Realiser, drv: drv, name: p.dir.Join(t.Drv), path: t.Drv}
	var wanted []store.StorePath
	allKnown := true
	for name := range drv.Outputs {
		if len(t.Outputs) > 0 && !slices.Contains(t.Outputs, name) {
			continue
		}
		path, ok := known[name]
		if !ok {
			path, ok = p.queryRealisation(ctx, d, ids[name], name, &f)
		}
		wanted, allKnown = append(wanted, path), allKnown && ok
	}
	missing := wanted
	if allKnown {
		missing, err = p.missing(ctx, wanted)
		if err != nil || len(missing) == 0 {
			return f, err
		}
	}
	if d.asks, err = drv.Options(); err != nil {
		return f, fmt.Errorf("derivation '%s' is refused: %w", d.name, err)
	}
	if allKnown && d.allowSubstitutes() {
		if f.infos, err = p.queryAll(ctx, missing, &f); err != nil || f.infos != nil {
			return f, err
		}
	}
	f.build = true
	for _, src := range drv.InputSrcs {
		f.next = append(f.next, Target{Path: src})
	}
	for input := range drv.InputDrvs {
		f.next = append(f.next, usedTargets(input, nil, drv.Use(input))...)
	}
	return f, nil
}

// targetsThrough are what has to be there for a target that a derivation is going to
// make: its first step, and what comes after that if it is known already.
func (p *planner) targetsThrough(ctx context.Context, t Target, made store.StorePath) ([]Target, error) {
	next := []Target{{Drv: t.Drv, Outputs: t.Through[:1]}}
	if !made.IsDerivation() {
		return next, nil
	}
	valid, err := p.valid(ctx, made)
	if valid {
		next = append(next, Target{Drv: made, Through: t.Through[1:], Outputs: t.Outputs})
	}
	return next, err
}

// usedTargets are the targets that stand for what is used of a derivation.
func usedTargets(drv store.StorePath, through []string, use derivation.Use) (targets []Target) {
	if len(use.Outputs) > 0 {
		targets = append(targets, Target{Drv: drv, Through: through, Outputs: use.Outputs})
	}
	for name, next := range use.Dynamic {
		targets = append(targets, usedTargets(drv, append(slices.Clone(through), name), next)...)
	}
	return targets
}
