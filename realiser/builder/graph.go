package builder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"larder/store"
	"larder/store/derivation"
)

// graph is a closure that the builder wants to know.
type graph struct {
	derivation.Graph
	attr string // that asks for it
}

func (b *build) graphs() (graphs []graph) {
	for _, g := range b.Asks.ReferencesGraphs {
		graphs = append(graphs, graph{g, "exportReferencesGraph"})
	}
	// Here it makes no difference that everything in them was realised for it.
	for _, g := range b.Asks.BuildReferencesGraphs {
		graphs = append(graphs, graph{g, "exportBuildReferencesGraph"})
	}
	return graphs
}

// writeGraphs describes closures in files of the build directory, in the form
// that "nix-store --register-validity" reads, with no derivers.
func (b *build) writeGraphs() error {
	for _, g := range b.graphs() {
		infos, err := b.closureOf(g)
		if err != nil {
			return err
		}
		if err := b.writeFile(g.Name, registration(b.dir, infos)); err != nil {
			return err
		}
	}
	return nil
}

// closureOf returns the closure of a graph's paths, sorted by path. If there are
// derivations in it, their outputs and the closures of those belong to it: so
// builders get at everything that is needed to build a path.
func (b *build) closureOf(g graph) ([]*store.PathInfo, error) {
	var roots []store.StorePath
	for _, text := range g.Paths {
		p, err := b.graphRoot(g.attr, text)
		if err != nil {
			return nil, err
		}
		roots = append(roots, p)
	}
	paths, err := b.store.Closure(b.ctx, roots)
	if err != nil {
		return nil, fmt.Errorf("cannot export references: %w", err)
	}
	if paths, err = b.withOutputs(paths); err != nil {
		return nil, err
	}
	paths = store.SortPaths(paths)
	infos := make([]*store.PathInfo, len(paths))
	for i, p := range paths {
		if infos[i], err = b.store.PathInfo(b.ctx, p); err != nil {
			return nil, fmt.Errorf("cannot export references of path '%s': %w", b.dir.Join(p), err)
		}
		if b.described += 1 + len(infos[i].References); b.described > maxDescribed {
			return nil, refusal{fmt.Errorf("the graphs of '%s' would have more than %d paths and references", g.attr, maxDescribed)}
		}
	}
	return infos, nil
}

// maxDescribed is how many paths and references all graphs of a build have at most: ten systems' closures. We hold them in
// memory, and a small derivation can ask for a large closure as often as it likes.
const maxDescribed = 1 << 20

// graphRoot is the path that an attribute names, or names something in. Builders
// may know only of what they were given: else the result would depend on what
// else is in the store.
func (b *build) graphRoot(attr, text string) (store.StorePath, error) {
	if !strings.HasPrefix(text, string(b.dir)+"/") {
		return store.StorePath{}, refusal{fmt.Errorf("'%s' contains a non-store path '%s'", attr, text)}
	}
	p, _, err := b.dir.Split(text)
	if err != nil {
		return p, refusal{fmt.Errorf("'%s' contains a bad path: %w", attr, err)}
	}
	if !slices.Contains(b.Inputs, p) {
		return p, refusal{fmt.Errorf("cannot export references of path '%s' because it is not in the input closure of the derivation", b.dir.Join(p))}
	}
	return p, nil
}

// withOutputs adds the closures of the outputs of the derivations among paths.
func (b *build) withOutputs(paths []store.StorePath) ([]store.StorePath, error) {
	var outputs []store.StorePath
	for _, p := range paths {
		if !p.IsDerivation() {
			continue
		}
		drv, err := b.store.Derivation(b.ctx, p)
		if err != nil {
			return nil, fmt.Errorf("cannot export references of path '%s': %w", b.dir.Join(p), err)
		}
		for _, name := range drv.OutputNames() {
			out := drv.Outputs[name].Path
			if out.IsZero() {
				return nil, refusal{fmt.Errorf("cannot export references of derivation '%s': it is %s, so its text does not say what its output '%s' is",
					b.dir.Join(p), drv.Kind(), name)}
			}
			outputs = append(outputs, out)
		}
	}
	if len(outputs) == 0 {
		return paths, nil
	}
	b.unroot = append(b.unroot, b.store.AddTempRoot(outputs...)) // those may be no inputs
	closure, err := b.store.Closure(b.ctx, outputs)
	if errors.Is(err, store.ErrNotValid) {
		// To leave it out would make the result depend on what happens to be here.
		return nil, refusal{fmt.Errorf("cannot export references: an output of a derivation in the graph is missing: %w", err)}
	} else if err != nil {
		return nil, fmt.Errorf("cannot export references: %w", err)
	}
	return slices.Concat(paths, closure), nil
}

// registration prints path, deriver (none), number of references, references.
func registration(dir store.Dir, infos []*store.PathInfo) string {
	var text strings.Builder
	for _, info := range infos {
		fmt.Fprintf(&text, "%s\n\n%d\n", dir.Join(info.Path), len(info.References))
		for _, r := range store.SortPaths(info.References) {
			fmt.Fprintln(&text, dir.Join(r))
		}
	}
	return text.String()
}

// pathInfosJSON is what Nix tells about a closure in structured attributes.
func pathInfosJSON(ctx context.Context, dir store.Dir, infos []*store.PathInfo) ([]any, error) {
	sizes, err := closureSizes(ctx, infos)
	if err != nil {
		return nil, err
	}
	list := make([]any, len(infos))
	for i, size := range sizes {
		info := infos[i]
		refs := make([]any, len(info.References))
		for n, r := range store.SortPaths(info.References) {
			refs[n] = dir.Join(r)
		}
		about := map[string]any{"path": dir.Join(info.Path), "narHash": info.NarHash.Text(store.Nix32), "narSize": info.NarSize,
			"references": refs, "closureSize": size}
		if !info.CA.IsZero() {
			about["ca"] = info.CA.String()
		}
		list[i] = about
	}
	return list, nil
}

// closureSizes sums up the sizes of each path's closure, which must be among infos.
func closureSizes(ctx context.Context, infos []*store.PathInfo) ([]uint64, error) {
	index := make(map[store.StorePath]int, len(infos))
	for i, info := range infos {
		index[info.Path] = i
	}
	refs := make([][]int, len(infos))
	for i, info := range infos {
		for _, r := range info.References {
			refs[i] = append(refs[i], index[r])
		}
	}
	sizes := make([]uint64, len(infos))
	seen := make([]int, len(infos)) // the last path whose closure was found to have it, counted from 1
	var todo []int
	for root := range infos {
		if ctx.Err() != nil { // a large graph takes a while
			return nil, context.Cause(ctx)
		}
		todo = append(todo[:0], root)
		seen[root] = root + 1
		for len(todo) > 0 {
			i := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			sizes[root] += infos[i].NarSize
			for _, r := range refs[i] {
				if seen[r] != root+1 {
					seen[r] = root + 1
					todo = append(todo, r)
				}
			}
		}
	}
	return sizes, nil
}
