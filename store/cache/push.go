package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sync/errgroup"
	"larder/store"
	"larder/store/compress"
)

// PathSource is where pushed paths come from; *local.Store is one.
type PathSource interface {
	Dir() store.Dir
	PathInfo(ctx context.Context, p store.StorePath) (*store.PathInfo, error)
	DumpNAR(ctx context.Context, w io.Writer, p store.StorePath) error
	// Realisations returns what is known of outputs that turned out to be p.
	Realisations(ctx context.Context, p store.StorePath) ([]*store.Realisation, error)
}

var errNotWritable = errors.New("only file:// caches can be written")

// PushOptions say how paths are written to a cache. Zero fields are taken from the cache's URL.
type PushOptions struct {
	Compression  string // xz (the default), zstd, gzip, bzip2, br or none
	Level        int    // of the compression; 0 is its usual level
	WriteListing bool   // write .ls files
	// Key signs what is pushed, beside the signatures that it has; nil adds none.
	Key *store.SecretKey
	// Jobs is how many paths are compressed at the same time; default 1.
	Jobs int
	// Done, if not nil, is called after each path, one call at a time. existed says that the cache had it.
	Done func(n *store.NarInfo, existed bool)
}

// Push writes paths to a file:// cache: NARs, narinfos, realisations, and if wanted listings. The cache's directory is made if it is not
// there. The references of each path must be among the paths or in the cache. A narinfo that the cache has is kept as it is.
//
// Each file appears complete or not at all, and a narinfo after its NAR and after the narinfos of its references: a cache
// is consistent for readers at any moment, also after a crash, and several processes may push to it at once. On an error
// the paths that were complete remain.
func (c *Cache) Push(ctx context.Context, src PathSource, paths []store.StorePath, o PushOptions) error {
	const op = "pushing"
	if c.location.file == "" {
		return c.fail(op, errNotWritable)
	}
	if src.Dir() != c.opt.StoreDir {
		return c.fail(op, fmt.Errorf("it holds paths of %s, not of %s", c.opt.StoreDir, src.Dir()))
	}
	setDefault(&o.Compression, c.location.push.Compression)
	setDefault(&o.Compression, "xz")
	setDefault(&o.Level, c.location.push.Level)
	setDefault(&o.Jobs, 1)
	o.WriteListing = o.WriteListing || c.location.push.WriteListing
	if err := compress.Check(o.Compression, o.Level); err != nil {
		return c.fail(op, err)
	}
	root, err := c.prepare()
	if err != nil {
		return c.fail(op, err)
	}
	defer root.Close()
	if _, err := c.Info(ctx); err != nil {
		return err
	}
	p := &push{cache: c, root: root, src: src, opt: o}
	if err := p.all(ctx, paths); err != nil {
		return c.fail(op, err)
	}
	return nil
}

// prepare makes the directory a cache.
func (c *Cache) prepare() (*os.Root, error) {
	if err := os.MkdirAll(c.location.file, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(c.location.file)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{"nar", "log", "realisations"} {
		if err := root.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			root.Close()
			return nil, err
		}
	}
	if err := sweepTemps(root, ".", "nar"); err != nil {
		root.Close()
		return nil, err
	}
	info := Info{StoreDir: c.opt.StoreDir, Priority: DefaultPriority}
	if c.location.priority != nil {
		info.Priority = *c.location.priority
	}
	if c.location.wantMassQuery != nil {
		info.WantMassQuery = *c.location.wantMassQuery
	}
	if err := writeNew(root, infoName, []byte(info.Text())); err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

// push is one call of Push.
type push struct {
	cache *Cache
	root  *os.Root
	src   PathSource
	opt   PushOptions

	doneMu sync.Mutex // held while opt.Done is called: it wants one call at a time
}

// all pushes the paths, references before referrers.
func (p *push) all(ctx context.Context, paths []store.StorePath) error {
	infos := make(map[store.StorePath]*store.PathInfo, len(paths))
	for _, path := range paths {
		info, err := p.src.PathInfo(ctx, path)
		if err != nil {
			return err
		}
		infos[path] = info
	}
	order := inOrder(infos, paths)
	done := make(map[store.StorePath]chan struct{}, len(order))
	for _, path := range order {
		done[path] = make(chan struct{})
	}
	group, jobCtx := errgroup.WithContext(ctx)
	group.SetLimit(p.opt.Jobs)
	for _, path := range order {
		if jobCtx.Err() != nil {
			break
		}
		// Go waits for a free job. What this path waits for was started before, so it has a job or is done.
		group.Go(func() error {
			if err := p.one(jobCtx, infos[path], done); err != nil {
				return fmt.Errorf("%s: %w", p.cache.opt.StoreDir.Join(path), err)
			}
			if err := p.realisations(jobCtx, infos[path]); err != nil {
				return fmt.Errorf("%s: realisations: %w", p.cache.opt.StoreDir.Join(path), err)
			}
			close(done[path])
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// inOrder returns the paths with references before referrers, each once. Cycles, which no store has, end somewhere.
func inOrder(infos map[store.StorePath]*store.PathInfo, paths []store.StorePath) []store.StorePath {
	order := make([]store.StorePath, 0, len(infos))
	seen := make(map[store.StorePath]bool, len(infos))
	type frame struct {
		path store.StorePath
		next int
	}
	for _, root := range paths {
		if seen[root] {
			continue
		}
		seen[root] = true
		stack := []frame{{path: root}}
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			refs := infos[top.path].References
			if top.next == len(refs) {
				order = append(order, top.path)
				stack = stack[:len(stack)-1]
				continue
			}
			ref := refs[top.next]
			top.next++
			if infos[ref] != nil && !seen[ref] {
				seen[ref] = true
				stack = append(stack, frame{path: ref})
			}
		}
	}
	return order
}
