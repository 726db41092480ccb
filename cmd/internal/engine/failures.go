package engine

import (
	"context"
	"errors"
	"slices"

	"larder/store"
)

// Failures implements control.Service.
func (e *Engine) Failures(ctx context.Context) ([]store.Failure, error) { return e.store.Failures(ctx) }

// ForgetFailures implements control.Service. A derivation stands for its outputs, too.
func (e *Engine) ForgetFailures(ctx context.Context, paths []store.StorePath) (int, error) {
	all := slices.Clone(paths)
	for _, p := range paths {
		if !p.IsDerivation() {
			continue
		}
		outputs, err := e.store.Outputs(ctx, p)
		if err != nil && !errors.Is(err, store.ErrNotValid) {
			return 0, err
		}
		for _, o := range outputs {
			all = append(all, o)
		}
	}
	return e.store.ForgetFailures(ctx, all...)
}
