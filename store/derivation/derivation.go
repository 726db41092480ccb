package derivation

import (
	"encoding/json"
	"maps"
	"slices"

	"larder/store"
)

// Derivation is a build step. It is a plain value: nobody may change it while
// others use it.
type Derivation struct {
	Name      string                       // without ".drv"
	Outputs   map[string]Output            // at least one
	InputDrvs map[store.StorePath][]string // the outputs used of each, sorted
	// DynamicInputs are the outputs of inputs that are derivations themselves, with
	// what is used of them; their inputs are in InputDrvs too. Nil: none.
	DynamicInputs map[store.StorePath]map[string]Use
	InputSrcs     []store.StorePath // sorted
	System        string            // "x86_64-linux", "builtin"
	Builder       string            // absolute path, or "builtin:fetchurl"
	Args          []string
	Env           map[string]string
}

// Output says what is known about an output beforehand. Its fields are set
// according to its [Kind].
type Output struct {
	Path     store.StorePath      // input-addressed and fixed
	CA       store.ContentAddress // fixed: what the content must hash to
	HashAlgo store.HashAlgo       // floating and impure
	Method   store.Method         // floating and impure
	Impure   bool
}

// jsonVariable is the environment variable that holds structured attributes.
const jsonVariable = "__json"

// OutputNames returns the names of the outputs, sorted.
func (drv *Derivation) OutputNames() []string {
	return slices.Sorted(maps.Keys(drv.Outputs))
}

// References returns what the .drv file refers to, sorted: input derivations
// and input sources.
func (drv *Derivation) References() []store.StorePath {
	refs := make([]store.StorePath, 0, len(drv.InputDrvs)+len(drv.InputSrcs))
	refs = slices.AppendSeq(refs, maps.Keys(drv.InputDrvs))
	return store.SortPaths(append(refs, drv.InputSrcs...))
}

// Path computes the store path of the .drv file from its text.
func (drv *Derivation) Path(d store.Dir) (store.StorePath, error) {
	ca := store.ContentAddress{Method: store.Text, Hash: store.SHA256.Sum(drv.ATerm(d))}
	return d.ContentPath(drv.Name+".drv", ca, store.References{Others: drv.References()})
}

// StructuredAttrs returns the structured attributes as the derivation has them,
// if it has any. They are not checked to be valid JSON.
func (drv *Derivation) StructuredAttrs() (json.RawMessage, bool) {
	s, ok := drv.Env[jsonVariable]
	return json.RawMessage(s), ok
}

// Basic returns what Nix calls a basic derivation: the same step with the
// store paths of all its inputs as sources, so that it can be built by someone
// who does not have the derivations of the inputs. Its hash modulo is another,
// so its output paths can't be checked.
func (drv *Derivation) Basic(inputs []store.StorePath) *Derivation {
	b := drv.Clone()
	b.InputDrvs, b.DynamicInputs = nil, nil
	b.InputSrcs = store.SortPaths(append(b.InputSrcs, inputs...))
	return b
}

// Clone returns a copy that shares nothing with drv.
func (drv *Derivation) Clone() *Derivation {
	c := *drv
	c.Outputs = maps.Clone(drv.Outputs)
	c.InputDrvs = maps.Clone(drv.InputDrvs)
	for p, names := range c.InputDrvs {
		c.InputDrvs[p] = slices.Clone(names)
	}
	c.DynamicInputs = maps.Clone(drv.DynamicInputs)
	for p, dynamic := range c.DynamicInputs {
		c.DynamicInputs[p] = Use{Dynamic: dynamic}.clone().Dynamic
	}
	c.InputSrcs = slices.Clone(drv.InputSrcs)
	c.Args = slices.Clone(drv.Args)
	c.Env = maps.Clone(drv.Env)
	return &c
}
