package builder

import (
	"slices"

	"larder/realiser/result"
)

// finish completes an error, if there is one, with what the log says, and
// removes or keeps what the build leaves behind.
func (b *build) finish(failure *result.BuildError) {
	for _, f := range b.unroot {
		f()
	}
	if err := b.log.Close(); err != nil {
		b.opt.Logger.Warn("build log is incomplete", "drv", b.Path.String(), "err", err)
	}
	if failure != nil {
		b.withLog(failure)
	}
	keep := (failure != nil || b.mismatched()) && b.keeps() && b.ctx.Err() == nil
	if keep {
		b.keep(failure)
	}
	if failure != nil {
		b.result.discard()
	}
	if b.storeTemp != "" {
		if err := b.store.DropTemp(b.storeTemp); err != nil {
			b.opt.Logger.Warn("outputs of a build could not be removed", "drv", b.Path.String(), "err", err)
		}
	}
	if b.scratch.retained {
		if err := b.scratch.give(b.For, b.user.Identity, keep); err != nil {
			b.opt.Logger.Warn("the directory of a build is kept, but", "dir", b.scratch.dir, "err", err)
		}
		return
	}
	if err := b.scratch.remove(); err != nil {
		b.opt.Logger.Warn("build directory could not be removed", "drv", b.Path.String(), "err", err)
	}
}

// mismatched tells whether the build is going to fail when its outputs are registered.
func (b *build) mismatched() bool {
	return slices.ContainsFunc(b.result.Outputs, func(o *Output) bool { return o.mismatch != nil })
}
