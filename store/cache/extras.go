package cache

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"larder/nar"
	"larder/store"
)

// Bounds of small files, in bytes.
const (
	maxListing     = 256 << 20
	maxRealisation = 1 << 20
)

func listingName(p store.StorePath) string { return p.HashPart() + ".ls" }

func logName(drv store.StorePath) string { return "log/" + drv.String() }

func realisationName(id store.DrvOutput) string { return "realisations/" + id.String() + ".doi" }

// Listing returns the table of contents of a path's NAR, store.ErrNotFound if the cache has none. Nobody signs listings:
// they are a hint.
func (c *Cache) Listing(ctx context.Context, p store.StorePath) (*nar.Listing, error) {
	op := "fetching the listing of " + p.String()
	b, err := c.files.get(ctx, listingName(p), maxListing)
	if err != nil {
		return nil, c.fail(op, err)
	}
	l, err := nar.ParseListing(b)
	if err != nil {
		return nil, c.fail(op, corrupt(err))
	}
	return l, nil
}

// Log opens the build log of a derivation, decompressed, store.ErrNotFound if the cache has none. It may be of any length.
// The context governs the whole stream, which must be closed.
func (c *Cache) Log(ctx context.Context, drv store.StorePath) (io.ReadCloser, error) {
	op := "fetching the log of " + drv.String()
	ctx, cancel := context.WithCancel(ctx)
	src, err := c.files.open(ctx, logName(drv))
	if err != nil {
		cancel()
		return nil, c.fail(op, err)
	}
	s := &stream{cache: c, op: op, ctx: ctx, cancel: cancel, src: src, raw: tracked{r: src}}
	s.decoded = newReadAhead(s.decode(detect), decodedAhead)
	return s, nil
}

// Realisation returns what the cache says an output of a content-addressed derivation is, if the Policy accepts it. Errors
// are those of NarInfo.
func (c *Cache) Realisation(ctx context.Context, id store.DrvOutput) (*store.Realisation, error) {
	if _, err := c.Info(ctx); err != nil {
		return nil, err
	}
	op := "looking up the realisation of " + id.String()
	b, err := c.files.get(ctx, realisationName(id), maxRealisation)
	if err != nil {
		return nil, c.fail(op, err)
	}
	r := &store.Realisation{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, c.fail(op, corrupt(err))
	}
	if r.ID != id {
		return nil, c.fail(op, corruptf("it is about %s", r.ID))
	}
	if err := c.opt.Policy.CheckRealisation(c.location.trusted, r); err != nil {
		return nil, c.fail(op, err)
	}
	return r, nil
}

// PathSource is where pushed paths come from; *local.Store is one.
type PathSource interface {
	Dir() store.Dir
	PathInfo(ctx context.Context, p store.StorePath) (*store.PathInfo, error)
	DumpNAR(ctx context.Context, w io.Writer, p store.StorePath) error
}

var errNotWritable = errors.New("only file:// caches can be written")
