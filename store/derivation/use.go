package derivation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"larder/store"
)

// Use is what is used of a derivation: some of its outputs, and what is used of
// those outputs that are derivations themselves (dynamic derivations).
type Use struct {
	Outputs []string       // sorted
	Dynamic map[string]Use // by the output that is a derivation once it is built
}

// maxNesting bounds how deep derivations that make derivations can be nested.
const maxNesting = 64

// Use returns what drv uses of an input derivation.
func (drv *Derivation) Use(input store.StorePath) Use {
	return Use{Outputs: drv.InputDrvs[input], Dynamic: drv.DynamicInputs[input]}
}

// IsDynamic reports whether drv uses outputs of derivations that are not there
// before others are built.
func (drv *Derivation) IsDynamic() bool { return len(drv.DynamicInputs) > 0 }

// Needed are the outputs of the derivation itself that must be there, sorted.
func (u Use) Needed() []string {
	if len(u.Dynamic) == 0 {
		return u.Outputs
	}
	names := slices.AppendSeq(slices.Clone(u.Outputs), maps.Keys(u.Dynamic))
	slices.Sort(names)
	return slices.Compact(names)
}

// merge returns what u or v use.
func (u Use) merge(v Use) Use {
	m := Use{Outputs: slices.Concat(u.Outputs, v.Outputs), Dynamic: maps.Clone(u.Dynamic)}
	slices.Sort(m.Outputs)
	m.Outputs = slices.Compact(m.Outputs)
	for name, use := range v.Dynamic {
		if m.Dynamic == nil {
			m.Dynamic = map[string]Use{}
		}
		m.Dynamic[name] = m.Dynamic[name].merge(use)
	}
	return m
}

func (u Use) clone() Use {
	c := Use{Outputs: slices.Clone(u.Outputs), Dynamic: maps.Clone(u.Dynamic)}
	for name, use := range c.Dynamic {
		c.Dynamic[name] = use.clone()
	}
	return c
}

// setInput adds an input.
func (drv *Derivation) setInput(p store.StorePath, u Use) {
	drv.InputDrvs[p] = u.Outputs
	if len(u.Dynamic) > 0 {
		if drv.DynamicInputs == nil {
			drv.DynamicInputs = map[store.StorePath]map[string]Use{}
		}
		drv.DynamicInputs[p] = u.Dynamic
	}
}

// validate says what is wrong with what is used of an input.
func (u Use) validate(input store.StorePath, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("input %s: more than %d derivations that make derivations", input, maxNesting)
	}
	if !sortedUnique(u.Outputs, strings.Compare) {
		return fmt.Errorf("the outputs of input %s are not sorted or not unique", input)
	}
	for _, n := range u.Outputs {
		if err := store.CheckName(n); err != nil {
			return fmt.Errorf("input %s: %w", input, err)
		}
	}
	for n, use := range u.Dynamic {
		if err := store.CheckName(n); err != nil {
			return fmt.Errorf("input %s: %w", input, err)
		}
		if len(use.Outputs)+len(use.Dynamic) == 0 {
			return fmt.Errorf("input %s: nothing is used of the derivation that is its output %q", input, n)
		}
		if err := use.validate(input, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// appendUse prints what is used of a derivation: a list of outputs, or that and
// a list of those that are derivations.
func appendUse(b []byte, u Use) []byte {
	if len(u.Dynamic) == 0 {
		return appendList(b, u.Outputs, appendString)
	}
	b = appendList(append(b, '('), u.Outputs, appendString)
	b = appendList(append(b, ','), slices.Sorted(maps.Keys(u.Dynamic)), func(b []byte, name string) []byte {
		b = appendString(append(b, '('), name)
		return append(appendUse(append(b, ','), u.Dynamic[name]), ')')
	})
	return append(b, ')')
}

// use is the inverse of appendUse.
func (p *parser) use(depth int) (u Use, err error) {
	if !strings.HasPrefix(p.text[p.pos:], "(") {
		u.Outputs, err = p.names()
		return u, err
	}
	switch {
	case !p.dynamic:
		return u, p.expect("[")
	case depth > maxNesting:
		return u, fmt.Errorf("more than %d derivations that make derivations", maxNesting)
	}
	p.pos++
	if u.Outputs, err = p.names(); err != nil {
		return u, err
	}
	if err := p.expect(","); err != nil {
		return u, err
	}
	u.Dynamic, p.dynamicUsed = map[string]Use{}, true
	last, start := "", p.pos
	err = p.list(func() error {
		if err := p.expect("("); err != nil {
			return err
		}
		at := p.pos
		name, err := p.str()
		if err != nil {
			return err
		}
		if err := inOrder("output", &last, name, len(u.Dynamic) == 0); err != nil {
			p.pos = at
			return err
		}
		if err := p.expect(","); err != nil {
			return err
		}
		if u.Dynamic[name], err = p.use(depth + 1); err != nil {
			return err
		}
		return p.expect(")")
	})
	if err == nil && len(u.Dynamic) == 0 {
		p.pos = start
		err = fmt.Errorf("an empty list of outputs that are derivations")
	}
	if err != nil {
		return u, err
	}
	return u, p.expect(")")
}

// names reads a list of output names in order.
func (p *parser) names() ([]string, error) {
	names, last := []string{}, ""
	err := p.list(func() error {
		at := p.pos
		n, err := p.str()
		if err == nil {
			if err = inOrder("output", &last, n, len(names) == 0); err != nil {
				p.pos = at
			}
		}
		names = append(names, n)
		return err
	})
	return names, err
}
