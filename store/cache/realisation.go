package cache

import (
	"context"
	"encoding/json"

	"larder/store"
)

const maxRealisation = 1 << 20 // bytes

// Realisation returns what the cache says an output of a content-addressed derivation is, if the Policy accepts it. Errors
// are those of NarInfo.
func (c *Cache) Realisation(ctx context.Context, id store.DrvOutput) (*store.Realisation, error) {
	if _, err := c.Info(ctx); err != nil {
		return nil, err
	}
	op := "looking up the realisation of " + id.String()
	b, err := c.files.get(ctx, "realisations/"+id.String()+".doi", maxRealisation)
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

// BuildTrace is Realisation in the newer form, for an output of a resolved derivation.
func (c *Cache) BuildTrace(ctx context.Context, drv store.StorePath, output string) (*store.BuildTrace, error) {
	if _, err := c.Info(ctx); err != nil {
		return nil, err
	}
	op := "looking up the build trace of " + drv.String() + "^" + output
	b, err := c.files.get(ctx, buildTraceName(drv, output), maxRealisation)
	if err != nil {
		return nil, c.fail(op, err)
	}
	t, err := store.ParseBuildTrace(drv, output, b)
	if err != nil {
		return nil, c.fail(op, corrupt(err))
	}
	if err := c.opt.Policy.CheckBuildTrace(c.location.trusted, t); err != nil {
		return nil, c.fail(op, err)
	}
	return t, nil
}
