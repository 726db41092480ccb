package builder

import (
	"fmt"
	"os"
	"slices"

	"larder/realiser/content"
	"larder/store"
)

// settleAll gives the outputs, which are in the order of their references, their
// final paths.
func (b *build) settleAll(outputs []*Output) error {
	if !b.floating() {
		return nil
	}
	objects, err := os.Open(b.store.ObjectDir())
	if err != nil {
		return err
	}
	defer objects.Close()
	final := map[store.StorePath]store.StorePath{} // by where it was made
	for _, o := range outputs {
		if err := b.settle(o, final, int(objects.Fd())); err != nil {
			return err
		}
	}
	return nil
}

// settle gives an output its final path, which it adds to final.
func (b *build) settle(o *Output, final map[store.StorePath]store.StorePath, dirfd int) error {
	made := b.Outputs[o.Name]
	refs := references(o, made, final)
	rewrites := map[string]string{}
	for _, p := range o.mentions {
		if to, settled := final[p]; settled && to != p {
			rewrites[p.HashPart()] = to.HashPart()
		}
	}
	ca := store.ContentAddress{}
	ca.Method, _ = b.method(o.Name)
	var err error
	if err := b.mayRefer(o, refs); err != nil {
		return err
	}
	if ca.Hash, err = b.hashRewritten(o, rewrites, dirfd); err != nil {
		return err
	}
	p, err := b.dir.ContentPath(store.OutputPathName(b.Drv.Name, o.Name), ca, refs)
	if err != nil {
		return fmt.Errorf("output '%s' of '%s': %w", o.Name, b.name, err)
	}
	if slices.Contains(o.mentions, made) {
		rewrites[made.HashPart()] = p.HashPart()
	}
	if len(rewrites) > 0 {
		if err := b.rewrite(o, rewrites, dirfd); err != nil {
			return err
		}
	}
	if refs.Self {
		refs.Others = append(refs.Others, p)
	}
	final[made] = p
	o.Info.Path, o.Info.CA, o.Info.References = p, ca, store.SortPaths(refs.Others)
	return nil
}

// references are those of an output with the final paths of other outputs.
func references(o *Output, made store.StorePath, final map[store.StorePath]store.StorePath) (refs store.References) {
	for _, p := range o.Info.References {
		if to, settled := final[p]; settled {
			refs.Others = append(refs.Others, to)
		} else if p == made {
			refs.Self = true
		} else {
			refs.Others = append(refs.Others, p)
		}
	}
	return refs
}

// mayRefer refuses references where the store path has no place for them.
func (b *build) mayRefer(o *Output, refs store.References) error {
	if len(o.Info.References) == 0 {
		return nil
	}
	method, algo := b.method(o.Name)
	if method == store.Text && !refs.Self || method == store.Recursive && algo == store.SHA256 {
		return nil
	}
	what := fmt.Sprintf("'%s'", b.dir.Join(o.Info.References[0]))
	if refs.Self {
		what = "itself"
	}
	return fmt.Errorf("output '%s' of '%s' must not refer to %s, because its content address is a %s with method '%s' (unsafeDiscardReferences drops references)",
		o.Name, b.name, what, algo, method)
}

// hashRewritten takes the hash of an output's content address as it will be with
// rewrites, which is where the output's own path does not count yet.
func (b *build) hashRewritten(o *Output, rewrites map[string]string, dirfd int) (store.Hash, error) {
	if len(rewrites) == 0 {
		return b.hashContent(o, dirfd)
	}
	method, algo := b.method(o.Name)
	if own := content.OverNAR(method, algo, b.Outputs[o.Name].HashPart()); own != nil {
		if _, err := b.dumpInto(b.ctx, own, o, rewrites, dirfd); err != nil {
			return store.Hash{}, fmt.Errorf("output '%s' of '%s': %w", o.Name, b.name, err)
		}
		return store.SumOf(algo, own), nil
	}
	if err := b.rewrite(o, rewrites, dirfd); err != nil {
		return store.Hash{}, err
	}
	return b.hashContent(o, dirfd)
}
