package derivation

import (
	"errors"
	"fmt"
	"strings"

	"larder/store"
)

// Parse reads the ATerm of a .drv file whose store path has the name
// name+".drv". It accepts exactly the texts that [Derivation.ATerm] prints:
// everything sorted, nothing twice, no other escapes and spaces. A fixed
// output's path may be empty, for [Hasher.Fill] to set.
//
// Errors are *SyntaxError with an offset; those about unknown versions wrap
// [ErrUnsupported]; *InvalidError is for texts that are well-formed but
// contradict themselves.
func Parse(d store.Dir, name string, text []byte) (*Derivation, error) {
	// One copy; strings without escapes are slices of it.
	p := &parser{dir: d, text: string(text)}
	drv, err := p.derivation()
	if err != nil {
		return nil, &SyntaxError{Name: name, Offset: p.pos, Err: err}
	}
	drv.Name = name
	if err := drv.Validate(); err != nil {
		return nil, err
	}
	return drv, nil
}

// parser goes through the text once. It recurses only in use, which is bounded;
// pos is where the error is when a method fails.
type parser struct {
	dir         store.Dir
	text        string
	pos         int
	dynamic     bool // dynamic derivations may be among the inputs
	dynamicUsed bool // they are
}

const (
	derivePrefix, versionPrefix = "Derive(", "DrvWithVersion("
	dynamicVersion              = "xp-dyn-drv" // the only one that Nix knows
)

func (p *parser) derivation() (*Derivation, error) {
	drv := &Derivation{
		Outputs:   map[string]Output{},
		InputDrvs: map[store.StorePath][]string{},
		Env:       map[string]string{},
	}
	steps := []func() error{
		p.prefix,
		func() error { return p.list(p.outputs(drv)) },
		func() error { return p.list(p.inputDrvs(drv)) },
		func() error { return p.list(p.inputSrcs(drv)) },
		func() error { return p.stringInto(&drv.System) },
		func() error { return p.stringInto(&drv.Builder) },
		func() error { return p.list(p.args(drv)) },
		func() error { return p.list(p.env(drv)) },
	}
	for i, step := range steps {
		if i > 1 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		if err := step(); err != nil {
			return nil, err
		}
	}
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	switch {
	case p.pos != len(p.text):
		return nil, errors.New("text after the end of the derivation")
	case p.dynamic && !p.dynamicUsed:
		return nil, fmt.Errorf("version %q, but it uses no output of a dynamic derivation", dynamicVersion)
	}
	return drv, nil
}

// prefix reads what comes before the outputs.
func (p *parser) prefix() error {
	if !strings.HasPrefix(p.text, versionPrefix) {
		return p.expect(derivePrefix)
	}
	p.pos = len(versionPrefix)
	v, err := p.str()
	switch {
	case err != nil:
		return err
	case v != dynamicVersion:
		return fmt.Errorf("unknown version %q: %w", v, ErrUnsupported)
	}
	p.dynamic = true
	return p.expect(",")
}

func (p *parser) outputs(drv *Derivation) func() error {
	last := ""
	return func() error {
		start := p.pos
		name, path, algo, hash := "", "", "", ""
		if err := p.tuple(&name, &path, &algo, &hash); err != nil {
			return err
		}
		o, err := ParseOutput(p.dir, path, algo, hash)
		if err == nil {
			err = inOrder("output", &last, name, len(drv.Outputs) == 0)
		}
		if err != nil {
			p.pos = start
			return err
		}
		drv.Outputs[name] = o
		return nil
	}
}

func (p *parser) inputDrvs(drv *Derivation) func() error {
	var last store.StorePath
	return func() error {
		start := p.pos
		if err := p.expect("("); err != nil {
			return err
		}
		path, err := p.path()
		if err != nil {
			return err
		}
		if len(drv.InputDrvs) > 0 && last.Compare(path) >= 0 {
			p.pos = start
			return fmt.Errorf("input derivation %s is repeated or not in order", path)
		}
		last = path
		if err := p.expect(","); err != nil {
			return err
		}
		use, err := p.use(0)
		if err != nil {
			return err
		}
		drv.setInput(path, use)
		return p.expect(")")
	}
}

func (p *parser) inputSrcs(drv *Derivation) func() error {
	return func() error {
		start := p.pos
		path, err := p.path()
		if err != nil {
			return err
		}
		if n := len(drv.InputSrcs); n > 0 && drv.InputSrcs[n-1].Compare(path) >= 0 {
			p.pos = start
			return fmt.Errorf("input source %s is repeated or not in order", path)
		}
		drv.InputSrcs = append(drv.InputSrcs, path)
		return nil
	}
}

func (p *parser) args(drv *Derivation) func() error {
	return func() error {
		a, err := p.str()
		drv.Args = append(drv.Args, a)
		return err
	}
}

func (p *parser) env(drv *Derivation) func() error {
	last := ""
	return func() error {
		start := p.pos
		key, value := "", ""
		if err := p.tuple(&key, &value); err != nil {
			return err
		}
		if err := inOrder("environment variable", &last, key, len(drv.Env) == 0); err != nil {
			p.pos = start
			return err
		}
		drv.Env[key] = value
		return nil
	}
}

// inOrder checks that s comes after *last and remembers it.
func inOrder(what string, last *string, s string, first bool) error {
	if !first && s <= *last {
		return fmt.Errorf("%s %q is repeated or not in order", what, s)
	}
	*last = s
	return nil
}
