package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"larder/store"
)

// Cache is a binary cache. All methods may be called concurrently.
type Cache struct {
	name     string // the URL without settings and password: for messages, and as key in the memory
	location *location
	opt      Options
	files    files
	memory   Memory

	infos    flights[struct{}, Info]
	narInfos flights[[20]byte, string]

	warned sync.Once

	warnedForeign sync.Once

	infoMu sync.Mutex // guards info
	info   *Info      // once known
}

// files is how the files of a cache are reached. Names are relative, as in a narinfo's URL. What is not there is
// store.ErrNotFound; a failure that may go away is a *transientError.
type files interface {
	// get returns a small file. A longer one is store.ErrCorrupt.
	get(ctx context.Context, name string, max int64) ([]byte, error)
	// open starts the stream of a file. The context is that of the whole stream; to cancel it ends a Read.
	open(ctx context.Context, name string) (io.ReadCloser, error)
	close()
}

// Open prepares to use the cache at a URL: http://, https:// or file://, with Nix's settings as parameters (priority,
// trusted, want-mass-query, compression, compression-level, write-nar-listing). The error says what is wrong with the URL;
// nothing is contacted yet.
func Open(ctx context.Context, url string, o Options) (*Cache, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l, err := parseLocation(url)
	if err != nil {
		return nil, err
	}
	c := &Cache{location: l, opt: o.withDefaults()}
	name := *l.base
	name.User = nil
	c.name = name.String()
	c.memory = c.opt.Memory
	if l.file != "" {
		c.files, c.memory = directory(l.file), noMemory{}
	} else {
		c.files = newWeb(l.base, &c.opt)
	}
	return c, nil
}

// Close lets go of idle connections. Streams that are open go on.
func (c *Cache) Close() error {
	c.files.close()
	return nil
}

// String is the cache's URL, without settings and password.
func (c *Cache) String() string { return c.name }

// Trusted reports whether the URL said trusted=true: then no signatures are asked for.
func (c *Cache) Trusted() bool { return c.location.trusted }

// Priority is what the URL or else the cache says: the lower, the earlier it is asked. If it can't be had it is
// [DefaultPriority].
func (c *Cache) Priority(ctx context.Context) int {
	if c.location.priority != nil {
		return *c.location.priority
	}
	info, err := c.Info(ctx)
	if err != nil {
		return DefaultPriority
	}
	return info.Priority
}

// Info is what the cache says of itself; it is fetched once. A cache of another store directory is an error, each time, that
// matches store.ErrNotFound: it is up, and can't have anything.
func (c *Cache) Info(ctx context.Context) (Info, error) {
	info, err := c.anyInfo(ctx)
	if err != nil {
		return info, err
	}
	return info, c.checkInfo(&info)
}

// anyInfo is Info, of whatever store directory the cache is.
func (c *Cache) anyInfo(ctx context.Context) (Info, error) {
	c.infoMu.Lock()
	known := c.info
	c.infoMu.Unlock()
	if known != nil {
		return *known, nil
	}
	info, err := c.infos.do(ctx, struct{}{}, c.readInfo)
	if err != nil {
		return Info{}, c.fail("reading nix-cache-info", err)
	}
	return info, nil
}

func (c *Cache) checkInfo(i *Info) error {
	if i.StoreDir != c.opt.StoreDir {
		return c.fail("reading nix-cache-info", &storeDirError{theirs: i.StoreDir, ours: c.opt.StoreDir})
	}
	return nil
}

func (c *Cache) readInfo(ctx context.Context) (Info, error) {
	text, remembered, err := c.memory.GetCacheInfo(ctx, c.name)
	c.warn(err)
	if !remembered || err != nil {
		b, err := c.files.get(ctx, infoName, maxInfo)
		switch {
		case errors.Is(err, store.ErrNotFound) && c.location.file != "":
			// Nix makes a directory a cache by using it.
		case errors.Is(err, store.ErrNotFound):
			return Info{}, fmt.Errorf("this does not appear to be a binary cache: it has no %s: %w", infoName, err)
		case err != nil:
			return Info{}, err
		}
		text, remembered = string(b), false
	}
	info, err := ParseInfo(text)
	if err != nil {
		return Info{}, corrupt(err)
	}
	if !remembered {
		c.warn(c.memory.PutCacheInfo(ctx, c.name, text, c.opt.InfoTTL))
	}
	setDefault(&info.StoreDir, c.opt.StoreDir)
	if c.location.priority != nil {
		info.Priority = *c.location.priority
	}
	if c.location.wantMassQuery != nil {
		info.WantMassQuery = *c.location.wantMassQuery
	}
	c.infoMu.Lock()
	c.info = &info
	c.infoMu.Unlock()
	return info, nil
}

// warn reports a failing memory, once: it may be read-only on purpose.
func (c *Cache) warn(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		c.warned.Do(func() {
			c.opt.Logger.Warn("answers of a binary cache can't be remembered", "cache", c.name, "error", err)
		})
	}
}

// warnForeign reports a cache of another store directory, once: to who asks for a path it just does not have it.
func (c *Cache) warnForeign(err error) {
	var foreign *storeDirError
	if errors.As(err, &foreign) {
		c.warnedForeign.Do(func() { c.opt.Logger.Warn("a binary cache is of no use", "cache", c.name, "err", foreign) })
	}
}
