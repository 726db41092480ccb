package derivation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// attributes reads options out of structured attributes. The first error stays.
type attributes struct {
	drv    string
	within string // the attribute that values are members of, with a dot; "": the top
	values map[string]any
	err    error
}

func (a *attributes) readOptions(o *Options) {
	o.NoChroot = a.boolean("__noChroot", false)
	o.ImpureHostDeps = a.strings("__impureHostDeps")
	o.ImpureEnvVars = a.strings("impureEnvVars")
	o.PreferLocalBuild = a.boolean("preferLocalBuild", false)
	o.AllowSubstitutes = a.boolean("allowSubstitutes", true)
	o.RequiredSystemFeatures = sorted(a.strings("requiredSystemFeatures"))
	o.ReferencesGraphs = a.graphs("exportReferencesGraph")
	o.BuildReferencesGraphs = a.graphs("exportBuildReferencesGraph")
	o.checks = map[string]OutputChecks{}
	for output, m := range a.members("outputChecks") {
		o.checks[output] = OutputChecks{
			AllowedReferences:    m.strings("allowedReferences"),
			AllowedRequisites:    m.strings("allowedRequisites"),
			DisallowedReferences: m.strings("disallowedReferences"),
			DisallowedRequisites: m.strings("disallowedRequisites"),
			MaxSize:              m.size("maxSize"),
			MaxClosureSize:       m.size("maxClosureSize"),
			IgnoreSelfRefs:       m.boolean("ignoreSelfRefs", false),
		}
		a.fail(m.err)
	}
	o.discard = map[string]bool{}
	discard := a.object("unsafeDiscardReferences")
	for _, output := range slices.Sorted(maps.Keys(discard.values)) {
		o.discard[output] = discard.boolean(output, false)
	}
	a.fail(discard.err)
}

func (a *attributes) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

func (a *attributes) bad(name, reason string) {
	a.fail(&AttributeError{Name: a.drv, Attribute: shorten(a.within + name), Reason: reason})
}

func (a *attributes) boolean(name string, otherwise bool) bool {
	value, ok := a.values[name]
	if !ok {
		return otherwise
	}
	b, ok := value.(bool)
	if !ok {
		a.bad(name, "must be a Boolean")
	}
	return b
}

// strings reads a list of strings; nil if there is none.
func (a *attributes) strings(name string) []string {
	value, ok := a.values[name]
	if !ok {
		return nil
	}
	elements, ok := value.([]any)
	list := make([]string, len(elements))
	for i, e := range elements {
		s, isString := e.(string)
		list[i], ok = s, ok && isString
	}
	if !ok {
		a.bad(name, "must be a list of strings")
	}
	return list
}

func (a *attributes) size(name string) *uint64 {
	value, ok := a.values[name]
	if !ok {
		return nil
	}
	var size uint64
	switch v := value.(type) {
	case uint64:
		size = v
	case int64:
		size = uint64(v)
		if v < 0 {
			a.bad(name, "must not be negative")
		}
	default:
		a.bad(name, "must be a whole number of bytes")
	}
	return &size
}

// object reads an object; an empty one if there is none.
func (a *attributes) object(name string) *attributes {
	m := &attributes{drv: a.drv, within: a.within + name + "."}
	if value, ok := a.values[name]; ok {
		if m.values, ok = value.(map[string]any); !ok {
			a.bad(name, "must be an object")
		}
	}
	return m
}

// members reads an object of objects, in the order of their names.
func (a *attributes) members(name string) func(yield func(string, *attributes) bool) {
	return func(yield func(string, *attributes) bool) {
		outer := a.object(name)
		for _, key := range slices.Sorted(maps.Keys(outer.values)) {
			inner := outer.object(key)
			if !yield(key, inner) {
				return
			}
		}
		a.fail(outer.err)
	}
}

// graphs reads an object of paths or (nested) lists of paths. What is not an
// object is an attribute like any other, to Nix too.
func (a *attributes) graphs(name string) []Graph {
	value, ok := a.values[name].(map[string]any)
	if !ok {
		return nil
	}
	paths := map[string][]string{}
	for _, key := range slices.Sorted(maps.Keys(value)) {
		list := []string{}
		if !flatten(value[key], &list) {
			a.bad(name+"."+key, "must be a list of store paths")
		}
		// Nix would write the graph there and fail when it looks for the outputs.
		if key == "outputs" {
			a.bad(name, "has an invalid name: 'outputs'")
		}
		paths[key] = list
	}
	return sortGraphs(paths)
}

func flatten(value any, list *[]string) bool {
	switch v := value.(type) {
	case string:
		*list = append(*list, v)
		return true
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !flatten(e, list) })
	}
	return false
}

// decodeAttrs reads structured attributes: see [Options.Structured] for what
// comes out of it.
func decodeAttrs(text []byte) (map[string]any, error) {
	if err := checkJSON(text); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if v, err := withNumbers(v); err != nil {
		return nil, err
	} else if attrs, ok := v.(map[string]any); ok {
		return attrs, nil
	}
	return nil, errors.New("not a JSON object")
}

// withNumbers turns the numbers in a value into those of Go, in place.
func withNumbers(value any) (_ any, err error) {
	switch v := value.(type) {
	case map[string]any:
		for key, e := range v {
			if v[key], err = withNumbers(e); err != nil {
				return nil, err
			}
		}
	case []any:
		for i, e := range v {
			if v[i], err = withNumbers(e); err != nil {
				return nil, err
			}
		}
	case json.Number:
		return number(string(v))
	}
	return value, nil
}

func number(text string) (any, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("the number %s is too large", shorten(text))
	}
	return f, nil
}
