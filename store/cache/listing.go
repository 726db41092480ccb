package cache

import (
	"context"

	"larder/nar"
	"larder/store"
)

// maxListing bounds a listing, in bytes: about 100 for each file of a NAR.
const maxListing = 256 << 20

func listingName(p store.StorePath) string { return p.HashPart() + ".ls" }

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
