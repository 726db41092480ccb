package cache

import (
	"context"
	"io"

	"larder/store"
	"larder/store/compress"
)

// Log opens the build log of a derivation, decompressed, store.ErrNotFound if the cache has none. It may be of any length.
// The context governs the whole stream, which must be closed.
func (c *Cache) Log(ctx context.Context, drv store.StorePath) (io.ReadCloser, error) {
	op := "fetching the log of " + drv.String()
	ctx, cancel := context.WithCancel(ctx)
	src, err := c.files.open(ctx, "log/"+drv.String())
	if err != nil {
		cancel()
		return nil, c.fail(op, err)
	}
	s := &stream{cache: c, op: op, ctx: ctx, cancel: cancel, src: src, raw: tracked{r: src}}
	s.decoded = newReadAhead(s.decode(compress.Detect), decodedAhead)
	return s, nil
}
