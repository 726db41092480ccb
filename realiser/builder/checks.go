package builder

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
)

// checkOutputs applies the checks that the derivation asks for (Nix manual,
// "Advanced attributes": allowedReferences and those that follow) to the outputs
// that are going to be registered.
func (b *build) checkOutputs() error {
	c := checker{build: b, made: map[store.StorePath]*store.PathInfo{}, outputs: maps.Clone(b.Outputs)}
	for _, o := range b.result.Outputs {
		c.made[o.Info.Path] = o.Info
		c.outputs[o.Name] = o.Info.Path
	}
	for _, o := range b.result.Outputs {
		if err := c.check(o); err != nil {
			return err
		}
	}
	return nil
}

// checker knows the outputs, which are not valid yet, besides what is.
type checker struct {
	*build
	made    map[store.StorePath]*store.PathInfo
	outputs map[string]store.StorePath
}

func (c *checker) check(o *Output) error {
	checks := c.Asks.Checks(o.Name)
	direct := &closure{paths: o.Info.References, by: map[store.StorePath]store.StorePath{}}
	for _, p := range o.Info.References {
		direct.by[p] = o.Info.Path
	}
	whole := &closure{}
	if checks.MaxClosureSize != nil || checks.AllowedRequisites != nil || checks.DisallowedRequisites != nil {
		var err error
		if whole, err = c.closure(o.Info.Path); err != nil {
			return fmt.Errorf("closure of path '%s': %w", c.dir.Join(o.Info.Path), err)
		}
	}
	if err := c.checkSizes(o, checks, whole); err != nil {
		return err
	}
	for _, r := range []struct {
		specifiers []string // nil: no check
		allowed    bool     // they are what may be used; else what must not be
		used       *closure
		ignoreSelf bool
	}{
		{checks.AllowedReferences, true, direct, false},
		{checks.AllowedRequisites, true, whole, checks.IgnoreSelfRefs},
		{checks.DisallowedReferences, false, direct, false},
		{checks.DisallowedRequisites, false, whole, checks.IgnoreSelfRefs},
	} {
		if r.specifiers == nil {
			continue
		}
		named, err := c.resolve(o.Name, r.specifiers)
		if err != nil {
			return err
		}
		bad := &result.ForbiddenReferencesError{Output: c.dir.Join(o.Info.Path)}
		for _, p := range store.SortPaths(r.used.paths) {
			if named[p] != r.allowed && !(r.ignoreSelf && p == o.Info.Path) {
				bad.Chains = append(bad.Chains, r.used.chain(c.dir, o.Info.Path, p))
			}
		}
		if len(bad.Chains) > 0 {
			return bad
		}
	}
	return nil
}

func (c *checker) checkSizes(o *Output, checks derivation.OutputChecks, whole *closure) error {
	path := c.dir.Join(o.Info.Path)
	if most := checks.MaxSize; most != nil && o.Info.NarSize > *most {
		return fmt.Errorf("path '%s' is too large at %d bytes; limit is %d bytes", path, o.Info.NarSize, *most)
	}
	if most := checks.MaxClosureSize; most != nil && whole.size > *most {
		return fmt.Errorf("closure of path '%s' is too large at %d bytes; limit is %d bytes", path, whole.size, *most)
	}
	return nil
}

// resolve finds what reference specifiers name.
func (c *checker) resolve(output string, specifiers []string) (map[store.StorePath]bool, error) {
	named := map[store.StorePath]bool{}
	for _, s := range specifiers {
		if p, err := c.dir.Parse(s); err == nil {
			named[p] = true
		} else if p, ok := c.outputs[s]; ok {
			named[p] = true
		} else {
			return nil, fmt.Errorf("derivation contains an illegal reference specifier '%s': the check of output '%s' of '%s' expects a store path or the name of an output (%s)",
				s, output, c.name, strings.Join(slices.Sorted(maps.Keys(c.outputs)), ", "))
		}
	}
	return named, nil
}

// closure is what can be reached from an output.
type closure struct {
	paths []store.StorePath                   // nearest first
	by    map[store.StorePath]store.StorePath // what refers to each, on a shortest way; not for the first
	size  uint64                              // sum of NAR sizes
}

func (c *checker) closure(from store.StorePath) (*closure, error) {
	r := &closure{paths: []store.StorePath{from}, by: map[store.StorePath]store.StorePath{}}
	for i := 0; i < len(r.paths); i++ {
		p := r.paths[i]
		info := c.made[p]
		if info == nil {
			var err error
			if info, err = c.store.PathInfo(c.ctx, p); err != nil {
				return nil, err
			}
		}
		r.size += info.NarSize
		for _, ref := range store.SortPaths(info.References) {
			if _, seen := r.by[ref]; !seen && ref != from {
				r.by[ref] = p
				r.paths = append(r.paths, ref)
			}
		}
	}
	return r, nil
}

// chain is the way from an output to what it must not refer to, both included.
func (r *closure) chain(dir store.Dir, from, to store.StorePath) []string {
	chain := []string{dir.Join(to)}
	for p, ok := r.by[to]; ok; p, ok = r.by[p] {
		chain = append(chain, dir.Join(p))
		if p == from {
			break
		}
	}
	slices.Reverse(chain)
	return chain
}
