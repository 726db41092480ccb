package derivation

import (
	"context"
	"fmt"

	"larder/store"
)

// OutputPaths computes the paths of drv's outputs. Outputs whose path is not
// known before they are built are not in the result.
func (h *Hasher) OutputPaths(ctx context.Context, drv *Derivation) (map[string]store.StorePath, error) {
	paths := make(map[string]store.StorePath, len(drv.Outputs))
	switch drv.Kind() {
	case FixedOutput:
		p, err := fixedPath(h.dir, drv)
		if err != nil {
			return nil, err
		}
		paths["out"] = p
	case InputAddressed, Deferred:
		m, err := h.Modulo(ctx, drv)
		if err != nil || m.Deferred {
			return paths, err
		}
		for name := range drv.Outputs {
			if paths[name], err = h.dir.OutputPath(name, m.Hash, drv.Name); err != nil {
				return nil, err
			}
		}
	}
	return paths, nil
}

// Check verifies that drv has a right to the paths that it names: that it is
// what lies at p (unless p is zero), that its outputs have the paths that follow
// from it, and that its environment says the same. The error is an
// *OutputPathError or an *InvalidError, or one of reading the inputs.
//
// A derivation with deferred outputs passes even if all its inputs are known.
func (h *Hasher) Check(ctx context.Context, p store.StorePath, drv *Derivation) error {
	if err := drv.Validate(); err != nil {
		return err
	}
	if !p.IsZero() {
		own, err := drv.Path(h.dir)
		if err != nil {
			return err
		}
		if own != p {
			return h.pathError(drv, "store path", h.dir.Join(p), own)
		}
	}
	if k := drv.Kind(); k != InputAddressed && k != FixedOutput {
		return nil
	}
	paths, err := h.OutputPaths(ctx, drv)
	if err != nil {
		return err
	}
	for _, name := range drv.OutputNames() {
		got := drv.Outputs[name].Path
		want, ok := paths[name]
		if !ok {
			return &InvalidError{Name: drv.Name, Reason: fmt.Sprintf(
				"output %q has a path, but an input's is not known before it is built", name)}
		}
		if got != want {
			text := ""
			if !got.IsZero() {
				text = h.dir.Join(got)
			}
			return h.pathError(drv, fmt.Sprintf("output %q", name), text, want)
		}
		if env := drv.Env[name]; env != h.dir.Join(want) {
			return h.pathError(drv, fmt.Sprintf("environment variable %q", name), env, want)
		}
	}
	return nil
}

func (h *Hasher) pathError(drv *Derivation, what, got string, want store.StorePath) error {
	return &OutputPathError{Name: drv.Name, What: what, Got: got, Want: h.dir.Join(want)}
}

// Fill sets the output paths that are missing, and the environment variables of
// the outputs where they are missing or empty: to the path, to a placeholder if
// the output is content-addressed, to nothing if it is deferred. Deferred
// outputs become input-addressed if everything they depend on is known. What is
// there already must be right, else the error is that of Check; then drv is
// unchanged.
func (h *Hasher) Fill(ctx context.Context, drv *Derivation) error {
	if err := drv.Validate(); err != nil {
		return err
	}
	filled := drv.Clone()
	if filled.Env == nil {
		filled.Env = map[string]string{}
	}
	for name, o := range filled.Outputs {
		// The variables must be there before the hash is taken, which masks
		// their values but not their names.
		if k := o.Kind(); filled.Env[name] == "" {
			filled.Env[name] = ""
			if k == FloatingCA || k == Impure {
				filled.Env[name] = Placeholder(name)
			}
		}
	}
	paths, err := h.OutputPaths(ctx, filled)
	if err != nil {
		return err
	}
	for name, p := range paths {
		o := filled.Outputs[name]
		if o.Path.IsZero() {
			o.Path = p
			filled.Outputs[name] = o
		}
		if filled.Env[name] == "" {
			filled.Env[name] = h.dir.Join(p)
		}
	}
	if err := h.Check(ctx, store.StorePath{}, filled); err != nil {
		return err
	}
	*drv = *filled
	return nil
}
