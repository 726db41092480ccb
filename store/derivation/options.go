package derivation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Options are what a derivation asks of who builds it, beyond its inputs,
// builder and outputs: the Nix manual's "advanced attributes". They come from the
// environment, or from the structured attributes of a derivation that has those;
// then the environment says nothing.
//
// Store paths are texts as the derivation has them: what they name, and whether
// they may be named, only who has the inputs can say. They can be placeholders,
// so that what is taken from a derivation before it is resolved must not be used
// after that.
type Options struct {
	// Structured are the structured attributes (__structuredAttrs); nil if there
	// are none. A value is nil, a bool, string, int64, uint64 (beyond int64),
	// float64, []any or map[string]any.
	Structured map[string]any

	NoChroot         bool     // __noChroot: it wants to be built without a sandbox
	ImpureHostDeps   []string // __impureHostDeps: files of the host that it wants to see
	ImpureEnvVars    []string // variables that it wants from the daemon's environment; for fixed and impure outputs
	PreferLocalBuild bool     // not worth to be sent to another machine
	AllowSubstitutes bool     // may be substituted; true unless it says otherwise

	// RequiredSystemFeatures must all be among the system-features of the machine;
	// sorted.
	RequiredSystemFeatures []string

	// PassAsFile are variables that are passed as files; none with structured
	// attributes, which always are.
	PassAsFile []string

	// ReferencesGraphs (exportReferencesGraph) are to be described to the builder,
	// sorted by name.
	ReferencesGraphs []Graph
	// BuildReferencesGraphs (exportBuildReferencesGraph) are the same for
	// everything that is needed to build the paths.
	BuildReferencesGraphs []Graph

	checks  map[string]OutputChecks // of outputs that have their own
	common  OutputChecks            // of all other outputs
	discard map[string]bool
}

// Graph is what a builder is told about closures.
type Graph struct {
	Name  string   // of a file in the build directory, or of a structured attribute
	Paths []string // the graph is their closure
}

// OutputChecks are what an output must satisfy to be accepted. A specifier is a
// store path or the name of an output of the same derivation.
type OutputChecks struct {
	AllowedReferences    []string // nil: any; empty: none
	AllowedRequisites    []string // nil: any; empty: none
	DisallowedReferences []string
	DisallowedRequisites []string
	MaxSize              *uint64 // bytes of the NAR; nil: any
	MaxClosureSize       *uint64 // the same, summed over the closure
	IgnoreSelfRefs       bool    // the output itself is always fine among its requisites
}

// Checks are those of an output.
func (o *Options) Checks(output string) OutputChecks {
	if c, ok := o.checks[output]; ok {
		return c
	}
	return o.common
}

// DiscardReferences reports whether an output is to be registered without
// references, whatever it contains (unsafeDiscardReferences).
func (o *Options) DiscardReferences(output string) bool { return o.discard[output] }

// Options reads what the derivation asks for. The error is an [*AttributeError]
// if an attribute has the wrong type, an [*InvalidError] if it is nonsense.
//
// Differences to Nix 2.8, all of them as in newer versions: with structured
// attributes, output checks of a wrong type are errors, not ignored; sizes must be
// natural numbers; lists of paths in exportReferencesGraph may be nested;
// unsafeDiscardReferences and ignoreSelfRefs are known.
func (drv *Derivation) Options() (*Options, error) {
	o := &Options{}
	var err error
	if text, structured := drv.StructuredAttrs(); structured {
		err = drv.readAttrOptions(o, text)
	} else {
		err = drv.readEnvOptions(o)
	}
	if err != nil {
		return nil, err
	}
	for _, g := range o.BuildReferencesGraphs {
		if slices.ContainsFunc(o.ReferencesGraphs, func(h Graph) bool { return h.Name == g.Name }) {
			return nil, &InvalidError{Name: drv.Name, Reason: fmt.Sprintf("two references graphs have the name '%s'", shorten(g.Name))}
		}
	}
	return o, nil
}

// readAttrOptions reads structured attributes.
func (drv *Derivation) readAttrOptions(o *Options, text []byte) (err error) {
	if o.Structured, err = decodeAttrs(text); err != nil {
		return &AttributeError{Name: drv.Name, Attribute: jsonVariable, Reason: fmt.Sprintf("can't be read: %v", err)}
	}
	a := &attributes{drv: drv.Name, values: o.Structured}
	a.readOptions(o)
	return a.err
}

// readEnvOptions reads the environment, in which every value is a string: true is
// "1", a list is words.
func (drv *Derivation) readEnvOptions(o *Options) error {
	list := func(name string) []string {
		value, ok := drv.Env[name]
		if !ok {
			return nil
		}
		return words(value)
	}
	is := func(name string, otherwise bool) bool {
		value, ok := drv.Env[name]
		return ok && value == "1" || !ok && otherwise
	}
	o.NoChroot = is("__noChroot", false)
	o.ImpureHostDeps = list("__impureHostDeps")
	o.ImpureEnvVars = list("impureEnvVars")
	o.PreferLocalBuild = is("preferLocalBuild", false)
	o.AllowSubstitutes = is("allowSubstitutes", true)
	o.RequiredSystemFeatures = sorted(list("requiredSystemFeatures"))
	o.PassAsFile = list("passAsFile")
	o.common = OutputChecks{
		AllowedReferences:    list("allowedReferences"),
		AllowedRequisites:    list("allowedRequisites"),
		DisallowedReferences: list("disallowedReferences"),
		DisallowedRequisites: list("disallowedRequisites"),
		IgnoreSelfRefs:       true,
	}
	var err, err2 error
	o.ReferencesGraphs, err = drv.envGraphs("exportReferencesGraph")
	o.BuildReferencesGraphs, err2 = drv.envGraphs("exportBuildReferencesGraph")
	return firstError(err, err2)
}

// envGraphs reads pairs of a file name and a path. The last one of a name counts.
func (drv *Derivation) envGraphs(attr string) ([]Graph, error) {
	tokens := words(drv.Env[attr])
	bad := func(what, text string) error {
		return &InvalidError{Name: drv.Name, Reason: fmt.Sprintf(what, attr, shorten(text))}
	}
	if len(tokens)%2 != 0 {
		return nil, bad("odd number of tokens in '%s': '%s'", drv.Env[attr])
	}
	graphs := map[string][]string{}
	for pair := range slices.Chunk(tokens, 2) {
		if !isGraphName(pair[0]) {
			return nil, bad("invalid file name in '%s': '%s'", pair[0])
		}
		graphs[pair[0]] = pair[1:]
	}
	return sortGraphs(graphs), nil
}

func sortGraphs(paths map[string][]string) (graphs []Graph) {
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		graphs = append(graphs, Graph{name, paths[name]})
	}
	return graphs
}

// isGraphName reports whether the name can be that of a file in the build
// directory, and of nothing else.
func isGraphName(name string) bool {
	for i, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || !('0' <= c && c <= '9' || c == '.' || c == '-')) {
			return false
		}
	}
	return name != "" && len(name) <= maxGraphName
}

// maxGraphName is how long Linux lets a file name be, in bytes.
const maxGraphName = 255

// words splits at white space, as Nix joins lists of strings. It is never nil.
func words(s string) []string {
	list := strings.FieldsFunc(s, func(c rune) bool { return strings.ContainsRune(" \t\n\r", c) })
	return append([]string{}, list...)
}

func sorted(list []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

// shorten keeps an error to one line that can be read.
func shorten(s string) string {
	const most = 100
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
