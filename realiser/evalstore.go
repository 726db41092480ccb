package realiser

import (
	"context"
	"errors"
	"io"

	"larder/store"
	"larder/store/derivation"
)

// EvalStore has derivations and their sources, and nothing is written to it: what
// is built of them goes to Options.Store. *local.Store is one.
type EvalStore interface {
	Derivation(ctx context.Context, p store.StorePath) (*derivation.Derivation, error)
	ValidDerivers(ctx context.Context, p store.StorePath) ([]store.StorePath, error)
	Valid(ctx context.Context, paths []store.StorePath) ([]bool, error)
	PathInfo(ctx context.Context, p store.StorePath) (*store.PathInfo, error)
	// Closure returns references before referrers.
	Closure(ctx context.Context, paths []store.StorePath) ([]store.StorePath, error)
	DumpNAR(ctx context.Context, w io.Writer, p store.StorePath) error
}

// derivation reads a derivation from the store or from the one for evaluation.
func (r *Realiser) derivation(ctx context.Context, p store.StorePath) (*derivation.Derivation, error) {
	drv, err := r.store.Derivation(ctx, p)
	if r.opt.EvalStore != nil && errors.Is(err, store.ErrNotValid) {
		return r.opt.EvalStore.Derivation(ctx, p)
	}
	return drv, err
}

// derivers are the known derivations that have p as an output.
func (r *Realiser) derivers(ctx context.Context, p store.StorePath) ([]store.StorePath, error) {
	derivers, err := r.store.ValidDerivers(ctx, p)
	if err != nil || r.opt.EvalStore == nil {
		return store.SortPaths(derivers), err
	}
	more, err := r.opt.EvalStore.ValidDerivers(ctx, p)
	return store.SortPaths(append(derivers, more...)), err
}

// copySources copies what is missing of the sources' closures from the store for
// evaluation, and returns those that are not there either.
func (d *drvRun) copySources(sources []store.StorePath) (missing []store.StorePath, err error) {
	eval := d.opt.EvalStore
	if eval == nil || len(sources) == 0 {
		return sources, nil
	}
	valid, err := eval.Valid(d.g.ctx, sources)
	if err != nil {
		return nil, err
	}
	var there []store.StorePath
	for i, p := range sources {
		if valid[i] {
			there = append(there, p)
		} else {
			missing = append(missing, p)
		}
	}
	closure, err := eval.Closure(d.g.ctx, there)
	if err != nil {
		return nil, err
	}
	defer d.store.AddTempRoot(closure...)()
	todo, err := d.missing(d.g.ctx, closure)
	if err != nil {
		return nil, err
	}
	for _, p := range todo {
		if err := d.copySource(evalSource{eval}, p); err != nil {
			return nil, err
		}
	}
	return missing, nil
}

func (d *drvRun) copySource(from evalSource, p store.StorePath) error {
	info, err := from.NarInfo(d.g.ctx, p)
	if err != nil {
		return err
	}
	unlock, err := d.store.Lock(d.g.ctx, p)
	if err != nil {
		return err
	}
	defer unlock()
	if valid, err := d.valid(d.g.ctx, p); valid || err != nil {
		return err
	}
	if err := d.acquire(d.g, d.downloads, "download"); err != nil {
		return err
	}
	defer d.downloads.release()
	return d.fetch(d.g, from, info)
}

// evalSource is the store for evaluation as a source of objects.
type evalSource struct{ EvalStore }

func (evalSource) String() string               { return "the evaluation store" }
func (evalSource) Priority(context.Context) int { return 0 }

func (e evalSource) NarInfo(ctx context.Context, p store.StorePath) (*store.NarInfo, error) {
	info, err := e.PathInfo(ctx, p)
	if err != nil {
		return nil, err
	}
	return &store.NarInfo{PathInfo: *info}, nil
}

// NAR dumps while it is read. Closing it ends the dump.
func (e evalSource) NAR(ctx context.Context, n *store.NarInfo) (io.ReadCloser, error) {
	r, w := io.Pipe()
	d := &evalDump{r, make(chan struct{})}
	go func() {
		defer close(d.ended)
		w.CloseWithError(e.DumpNAR(ctx, w, n.Path))
	}()
	return d, nil
}

type evalDump struct {
	*io.PipeReader
	ended chan struct{}
}

func (d *evalDump) Close() error {
	err := d.PipeReader.Close()
	<-d.ended // the store may be closed after that
	return err
}
