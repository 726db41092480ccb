package cache

import (
	"context"
	"fmt"

	"larder/store"
)

// Foreign reports whether the cache is one of another store directory. If it can't be had, it is not.
func (c *Cache) Foreign(ctx context.Context) bool {
	info, err := c.anyInfo(ctx)
	return err == nil && info.StoreDir != c.opt.StoreDir
}

// ContentNarInfo is NarInfo for an object without references whose name and content address are known. A cache of another
// store directory has it under another path, by which it is asked for. What is returned is about p and needs no signature: it is checked
// against its content.
func (c *Cache) ContentNarInfo(ctx context.Context, p store.StorePath, ca store.ContentAddress) (*store.NarInfo, error) {
	op := "looking up the content of " + c.opt.StoreDir.Join(p)
	info, err := c.anyInfo(ctx)
	if err != nil {
		return nil, err
	}
	there, err := info.StoreDir.ContentPath(p.Name(), ca, store.References{})
	if err != nil {
		return nil, c.fail(op, err)
	}
	text, err := c.narInfoText(ctx, info.StoreDir, there)
	if err != nil {
		return nil, c.fail(op, err)
	}
	n, err := store.ParseNarInfo(info.StoreDir, text)
	switch {
	case err != nil:
		return nil, c.fail(op, corrupt(err))
	case n.Path != there:
		return nil, c.fail(op, corruptf("the narinfo is about %s", info.StoreDir.Join(n.Path)))
	case n.CA != ca || len(n.References) > 0:
		return nil, c.fail(op, fmt.Errorf("%s is not known there as %s: %w", info.StoreDir.Join(there), ca, store.ErrNotFound))
	}
	n.Path, n.Deriver, n.Signatures = p, store.StorePath{}, nil // theirs say nothing about ours
	return n, nil
}

// pathThere is what the cache calls the object that n is about.
func (c *Cache) pathThere(n *store.NarInfo) store.StorePath {
	c.infoMu.Lock()
	info := c.info
	c.infoMu.Unlock()
	if info == nil || info.StoreDir == c.opt.StoreDir {
		return n.Path
	}
	there, err := info.StoreDir.ContentPath(n.Path.Name(), n.CA, store.References{})
	if err != nil {
		return n.Path // it is not from ContentNarInfo
	}
	return there
}
