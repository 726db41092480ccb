package cache

import (
	"context"
	"errors"
	"strings"

	"larder/store"
)

// NarInfo returns what the cache says of a path, if the Policy accepts it. The error wraps store.ErrNotFound if the cache
// answers that it does not have the path, store.ErrCorrupt if the answer is malformed or about another path,
// store.ErrBadSignature if nobody trusted signed it; anything else is a failure to get an answer.
func (c *Cache) NarInfo(ctx context.Context, p store.StorePath) (*store.NarInfo, error) {
	if _, err := c.Info(ctx); err != nil {
		c.warnForeign(err)
		return nil, err
	}
	op := "looking up " + c.opt.StoreDir.Join(p)
	text, err := c.narInfoText(ctx, c.opt.StoreDir, p)
	if err != nil {
		return nil, c.fail(op, err)
	}
	n, err := c.parseNarInfo(p, text)
	if err != nil {
		return nil, c.fail(op, err)
	}
	return n, nil
}

func (c *Cache) parseNarInfo(p store.StorePath, text string) (*store.NarInfo, error) {
	n, err := store.ParseNarInfo(c.opt.StoreDir, text)
	if err != nil {
		if strings.HasPrefix(strings.TrimSpace(text), "<") {
			err = errors.New("the narinfo is a web page")
		}
		return nil, corrupt(err)
	}
	if n.Path != p {
		return nil, corruptf("the narinfo is about %s", c.opt.StoreDir.Join(n.Path))
	}
	if err := c.opt.Policy.Check(c.opt.StoreDir, c.location.trusted, n); err != nil {
		return nil, err
	}
	return n, nil
}

func narInfoName(p store.StorePath) string { return p.HashPart() + ".narinfo" }

// narInfoText returns the text of a narinfo, of a path in d, from the memory or the cache.
func (c *Cache) narInfoText(ctx context.Context, d store.Dir, p store.StorePath) (string, error) {
	text, known, err := c.memory.GetNarInfo(ctx, c.name, p.Digest())
	if err != nil {
		c.warn(err)
	} else if known && text == "" {
		return "", store.ErrNotFound
	} else if known {
		return text, nil
	}
	return c.narInfos.do(ctx, p.Digest(), func(ctx context.Context) (string, error) {
		b, err := c.files.get(ctx, narInfoName(p), store.MaxNarInfo)
		if errors.Is(err, store.ErrNotFound) {
			c.warn(c.memory.PutNarInfo(ctx, c.name, p.Digest(), "", c.opt.NegativeTTL))
		}
		if err != nil {
			return "", err
		}
		// What can't be parsed is not remembered: the server may come to its senses.
		if _, err := store.ParseNarInfo(d, string(b)); err == nil {
			c.warn(c.memory.PutNarInfo(ctx, c.name, p.Digest(), string(b), c.opt.PositiveTTL))
		}
		return string(b), nil
	})
}
