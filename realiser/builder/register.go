package builder

import (
	"context"

	"larder/realiser/result"
	"larder/store"
)

// Register makes the outputs valid, all at once, and puts those in their place that
// are valid and damaged. An output with a hash that was not promised is registered
// under the path that is right for it, and Register fails all the same. Of a check
// nothing is registered, but it is noted what was confirmed. It ends the Result.
func (r *Result) Register(ctx context.Context) error {
	b := r.build
	defer b.releaseUser()
	if b.Check != nil {
		return r.confirm(ctx)
	}
	var adds, replacements []store.Addition
	var mismatch error
	for _, o := range r.Outputs {
		b.sign(o.Info)
		add := store.Addition{Info: o.Info, Temp: o.temp}
		if o.mismatch != nil {
			mismatch = o.mismatch
		}
		if _, corrupt := b.Corrupt[o.Name]; corrupt && o.mismatch == nil {
			replacements = append(replacements, add)
		} else {
			adds = append(adds, add)
		}
	}
	// What replaces may refer to what was absent.
	err := b.store.Register(ctx, adds...)
	if err == nil && len(replacements) > 0 {
		err = b.store.Replace(ctx, replacements...)
	}
	if err != nil {
		r.discard()
		return b.withLog(b.failf(result.MiscFailure, "registering the outputs of '%s': %w", b.name, err))
	}
	if mismatch != nil {
		e := b.withLog(b.failed(result.OutputRejected, mismatch))
		e.KeptDir = b.kept
		return e
	}
	return nil
}

// confirm notes what was made once more and came out equal.
func (r *Result) confirm(ctx context.Context) error {
	b := r.build
	for _, info := range r.confirmed {
		signed := info.Clone()
		b.sign(signed)
		if err := b.store.Confirm(ctx, info.Path, signed.Signatures...); err != nil {
			return b.withLog(b.failf(result.MiscFailure, "confirming the outputs of '%s': %w", b.name, err))
		}
	}
	return nil
}

func (b *build) sign(info *store.PathInfo) {
	for _, k := range b.opt.SecretKeys {
		info.Sign(b.dir, k)
	}
}
