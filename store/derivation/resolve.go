package derivation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"larder/store"
)

// Built is what became of a derivation that another one uses: the paths of its
// outputs, and what became of those that are derivations themselves.
type Built struct {
	Outputs map[string]store.StorePath
	Dynamic map[string]Built // by the output that is the derivation
}

// Resolve returns the derivation with the outputs that it uses in the place of the
// derivations that make them (Nix manual, "Resolution"): what is used becomes an
// input source, placeholders become paths in builder, arguments and environment
// (structured attributes are in it), and deferred outputs get the paths that
// follow. What is used must all be in inputs.
func (drv *Derivation) Resolve(ctx context.Context, d store.Dir, inputs map[store.StorePath]Built) (*Derivation, error) {
	r := resolution{drv: drv, dir: d}
	for p := range drv.InputDrvs {
		first := func(output string) store.Hash { return upstream(p, output) }
		if err := r.add(d.Join(p), drv.Use(p), inputs[p], first); err != nil {
			return nil, err
		}
	}
	rewrite := strings.NewReplacer(r.pairs...)
	resolved := drv.Basic(r.paths)
	resolved.Builder = rewrite.Replace(drv.Builder)
	for i, a := range drv.Args {
		resolved.Args[i] = rewrite.Replace(a)
	}
	resolved.Env = make(map[string]string, len(drv.Env))
	for k, v := range drv.Env {
		resolved.Env[rewrite.Replace(k)] = rewrite.Replace(v)
	}
	if drv.Kind() != Deferred {
		return resolved, nil
	}
	for name := range drv.Outputs {
		resolved.Env[name] = "" // whatever it said: the path is not known before now
	}
	// It has no input derivations, so nothing is read.
	if err := NewHasher(d, nil).Fill(ctx, resolved); err != nil {
		return nil, err
	}
	return resolved, nil
}

// resolution collects what is to be replaced by what.
type resolution struct {
	drv   *Derivation
	dir   store.Dir
	pairs []string // placeholder, path, …
	paths []store.StorePath
}

// add goes through what is used of one derivation, called name.
func (r *resolution) add(name string, use Use, built Built, placeholder func(output string) store.Hash) error {
	for _, output := range use.Outputs {
		p, ok := built.Outputs[output]
		if !ok {
			return fmt.Errorf("cannot resolve derivation %s: the path of output '%s' of '%s' is not known", r.drv.Name, output, name)
		}
		r.pairs = append(r.pairs, render(placeholder(output)), r.dir.Join(p))
		r.paths = append(r.paths, p)
	}
	for _, output := range slices.Sorted(maps.Keys(use.Dynamic)) {
		next := func(o string) store.Hash { return computed(placeholder(output), o) }
		if err := r.add(name+"^"+output, use.Dynamic[output], built.Dynamic[output], next); err != nil {
			return err
		}
	}
	return nil
}
