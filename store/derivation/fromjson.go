package derivation

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"larder/store"
)

// FromJSON reads one derivation in any version of the form up to [Format4]; a
// text without version is taken for [FormatShow] or the one after it, which has
// the method apart. Name is for texts that have none; if both say it, they must
// agree. Output paths may be missing, for [Hasher.Fill] to set.
//
// Errors are *SyntaxError or *InvalidError; they wrap [ErrUnsupported] for other
// versions.
func FromJSON(d store.Dir, name string, text []byte) (*Derivation, error) {
	drv, err := fromJSON(d, name, text)
	if err != nil {
		return nil, &SyntaxError{Name: name, Offset: jsonOffset(err), Err: err}
	}
	if err := drv.Validate(); err != nil {
		return nil, err
	}
	return drv, nil
}

// FromShowJSON reads what [ShowJSON] prints: derivations by their paths. It does
// not check that the paths are right; [Hasher.Check] does.
func FromShowJSON(d store.Dir, text []byte) (map[store.StorePath]*Derivation, error) {
	fail := func(err error) (map[store.StorePath]*Derivation, error) {
		return nil, &SyntaxError{Name: "list", Offset: jsonOffset(err), Err: err}
	}
	if err := checkJSON(text); err != nil {
		return fail(err)
	}
	var top members
	if err := json.Unmarshal(text, &top); err != nil {
		return fail(err)
	}
	parse := d.Parse
	if inner, ok := top["derivations"]; ok {
		parse, top = store.ParseStorePath, nil
		if err := json.Unmarshal(inner, &top); err != nil {
			return fail(err)
		}
	}
	drvs := make(map[store.StorePath]*Derivation, len(top))
	for key, text := range top {
		p, err := parse(key)
		if err == nil && !p.IsDerivation() {
			err = fmt.Errorf("%s is not named .drv", p)
		}
		if err != nil {
			return fail(err)
		}
		if drvs[p], err = FromJSON(d, strings.TrimSuffix(p.Name(), ".drv"), text); err != nil {
			return nil, err
		}
	}
	return drvs, nil
}

func fromJSON(d store.Dir, name string, text []byte) (*Derivation, error) {
	if err := checkJSON(text); err != nil {
		return nil, err
	}
	var m members
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	r := jsonReader{parse: d.Parse}
	if err := m.take("version", false, &r.version); err != nil {
		return nil, err
	}
	switch r.version {
	case 0:
	case 3, 4:
		r.parse = store.ParseStorePath
	default:
		return nil, fmt.Errorf("derivation JSON version %d: %w", r.version, ErrUnsupported)
	}
	drv := &Derivation{Name: name, Env: map[string]string{}}
	own := ""
	err := firstError(
		m.take("name", r.version != 0, &own),
		m.take("system", true, &drv.System),
		m.take("builder", true, &drv.Builder),
		m.takeStrings("args", &drv.Args),
		m.takeEnv(drv),
		r.structuredAttrs(m, drv),
		r.outputs(m, drv),
		r.inputs(m, drv),
	)
	switch {
	case err != nil:
		return nil, err
	case own != "" && name != "" && own != name:
		return nil, fmt.Errorf("it says that its name is %q", own)
	case own != "":
		drv.Name = own
	}
	return drv, m.rest()
}

// jsonReader knows what the versions differ in.
type jsonReader struct {
	version int
	parse   func(string) (store.StorePath, error)
}

func (r jsonReader) structuredAttrs(m members, drv *Derivation) error {
	var attrs json.RawMessage
	if err := m.take("structuredAttrs", false, &attrs); err != nil || attrs == nil {
		return err
	}
	if _, ok := drv.Env[jsonVariable]; ok {
		return fmt.Errorf("it has both structuredAttrs and an environment variable %s", jsonVariable)
	}
	text, err := canonicalJSON(attrs)
	if err != nil {
		return fmt.Errorf("structuredAttrs: %w", err)
	}
	drv.Env[jsonVariable] = string(text)
	return nil
}

func (r jsonReader) outputs(m members, drv *Derivation) error {
	var outputs map[string]members
	if err := m.take("outputs", true, &outputs); err != nil {
		return err
	}
	drv.Outputs = make(map[string]Output, len(outputs))
	for name, o := range outputs {
		out, err := r.output(o)
		if err == nil {
			err = o.rest()
		}
		if err != nil {
			return fmt.Errorf("output %q: %w", name, err)
		}
		drv.Outputs[name] = out
	}
	return nil
}

func (r jsonReader) output(m members) (o Output, err error) {
	var path, method, algo, hash string
	err = firstError(
		m.take("path", false, &path),
		m.take("method", false, &method),
		m.take("hashAlgo", false, &algo),
		m.take("hash", false, &hash),
		m.take("impure", false, &o.Impure),
	)
	if err != nil {
		return o, err
	}
	if path != "" {
		if o.Path, err = r.parse(path); err != nil {
			return o, err
		}
	}
	switch {
	case method == "" && algo == "" && hash == "":
		return o, nil
	case method != "":
		if o.Method, err = store.ParseMethod(method); err == nil && algo != "" {
			o.HashAlgo, err = store.ParseHashAlgo(algo)
		}
	case r.version == 0 && algo != "":
		o.Method, o.HashAlgo, err = parseMethodAlgo(algo)
	default:
		err = errors.New("it needs a method")
	}
	if err != nil || hash == "" {
		return o, err
	}
	o.CA.Method = o.Method
	if o.CA.Hash, err = store.ParseHash(hash, o.HashAlgo); err != nil {
		return o, err
	}
	o.Method, o.HashAlgo = 0, 0
	return o, nil
}

func (r jsonReader) inputs(m members, drv *Derivation) error {
	srcsKey, drvsKey := "inputSrcs", "inputDrvs"
	if r.version >= 4 {
		var inputs members
		if err := m.take("inputs", true, &inputs); err != nil {
			return err
		}
		m, srcsKey, drvsKey = inputs, "srcs", "drvs"
	}
	var srcs []string
	var drvs map[string]json.RawMessage
	if err := firstError(m.takeStrings(srcsKey, &srcs), m.take(drvsKey, true, &drvs)); err != nil {
		return err
	}
	for _, s := range srcs {
		p, err := r.parse(s)
		if err != nil {
			return err
		}
		drv.InputSrcs = append(drv.InputSrcs, p)
	}
	drv.InputSrcs = store.SortPaths(drv.InputSrcs)
	drv.InputDrvs = make(map[store.StorePath][]string, len(drvs))
	for s, text := range drvs {
		p, err := r.parse(s)
		if err != nil {
			return err
		}
		use, err := readUse(text, 0)
		if err != nil {
			return fmt.Errorf("input %s: %w", p, err)
		}
		drv.setInput(p, use)
	}
	if srcsKey == "srcs" {
		return m.rest()
	}
	return nil
}

// readUse reads what is used of an input: a list of outputs, or an object that
// also says what is used of outputs that are derivations.
func readUse(text json.RawMessage, depth int) (u Use, err error) {
	if depth > maxNesting {
		return u, fmt.Errorf("more than %d derivations that make derivations", maxNesting)
	}
	m := members{"outputs": text}
	if !strings.HasPrefix(string(text), "[") {
		m = nil
		if err := json.Unmarshal(text, &m); err != nil {
			return u, err
		}
	}
	var names []string
	var dynamic map[string]json.RawMessage
	err = firstError(m.takeStrings("outputs", &names), m.take("dynamicOutputs", false, &dynamic), m.rest())
	if err != nil {
		return u, err
	}
	slices.Sort(names)
	u.Outputs = slices.Compact(names)
	for name, text := range dynamic {
		if u.Dynamic == nil {
			u.Dynamic = map[string]Use{}
		}
		if u.Dynamic[name], err = readUse(text, depth+1); err != nil {
			return u, fmt.Errorf("output %q: %w", name, err)
		}
	}
	return u, nil
}
