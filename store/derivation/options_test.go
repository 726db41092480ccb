package derivation_test

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"larder/store/derivation"
	"larder/test/fixture"
)

func withEnv(env map[string]string) *derivation.Derivation {
	return &derivation.Derivation{Name: "x", Env: env}
}

func withAttrs(json string) *derivation.Derivation {
	return withEnv(map[string]string{"__json": json})
}

func options(t *testing.T, drv *derivation.Derivation) *derivation.Options {
	t.Helper()
	o, err := drv.Options()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func size(n uint64) *uint64 { return &n }

func TestOptionsOfEnvironment(t *testing.T) {
	t.Parallel()
	o := options(t, withEnv(map[string]string{
		"__noChroot": "1", "preferLocalBuild": "1", "allowSubstitutes": "",
		"__impureHostDeps": " /a\t/b\n", "impureEnvVars": "http_proxy  NO_PROXY", "requiredSystemFeatures": "kvm benchmark kvm",
		"passAsFile": "text", "allowedReferences": "", "allowedRequisites": "out /nix/store/a", "disallowedReferences": "dev",
		"exportReferencesGraph": "b /nix/store/b a_1.x-y /nix/store/a b /nix/store/c", "exportBuildReferencesGraph": "g p",
		"maxSize": "1", "outputChecks": "no meaning here", "unsafeDiscardReferences": "1",
	}))
	common := derivation.OutputChecks{AllowedReferences: []string{}, AllowedRequisites: []string{"out", "/nix/store/a"},
		DisallowedReferences: []string{"dev"}, IgnoreSelfRefs: true}
	for _, c := range []struct{ what, got, want any }{
		{"__noChroot", o.NoChroot, true},
		{"preferLocalBuild", o.PreferLocalBuild, true},
		{"allowSubstitutes", o.AllowSubstitutes, false},
		{"__impureHostDeps", o.ImpureHostDeps, []string{"/a", "/b"}},
		{"impureEnvVars", o.ImpureEnvVars, []string{"http_proxy", "NO_PROXY"}},
		{"requiredSystemFeatures", o.RequiredSystemFeatures, []string{"benchmark", "kvm"}},
		{"passAsFile", o.PassAsFile, []string{"text"}},
		{"checks", o.Checks("out"), common},
		{"checks of another", o.Checks("dev"), common},
		{"graphs", o.ReferencesGraphs, []derivation.Graph{{"a_1.x-y", []string{"/nix/store/a"}}, {"b", []string{"/nix/store/c"}}}},
		{"build graphs", o.BuildReferencesGraphs, []derivation.Graph{{"g", []string{"p"}}}},
		{"unsafeDiscardReferences", o.DiscardReferences("out"), false},
		{"structured", o.Structured == nil, true},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %#v, want %#v", c.what, c.got, c.want)
		}
	}
	o = options(t, withEnv(map[string]string{"__noChroot": "true", "preferLocalBuild": "yes"}))
	if o.NoChroot || o.PreferLocalBuild || !o.AllowSubstitutes {
		t.Errorf("only \"1\" is true, and allowSubstitutes is so by default: %+v", o)
	}
	if c := o.Checks("out"); !reflect.DeepEqual(c, derivation.OutputChecks{IgnoreSelfRefs: true}) {
		t.Errorf("checks that nobody asked for: %+v", c)
	}
}

func TestOptionsOfStructuredAttributes(t *testing.T) {
	t.Parallel()
	drv := withAttrs(`{"__noChroot":true,"preferLocalBuild":true,"allowSubstitutes":false,"__impureHostDeps":["/a b"],
		"impureEnvVars":["V"],"requiredSystemFeatures":["kvm","benchmark"],"passAsFile":["x"],
		"allowedReferences":["ignored"],"disallowedRequisites":7,
		"outputChecks":{"out":{"allowedReferences":[],"disallowedRequisites":["dev"],"maxSize":10,"maxClosureSize":18446744073709551615,
			"ignoreSelfRefs":true,"unknown":1},"nope":{}},
		"unsafeDiscardReferences":{"out":true,"dev":false},
		"exportReferencesGraph":{"one":"/nix/store/a","many":[["/nix/store/b"],"/nix/store/c"],"none":[]},
		"null":null,"numbers":[1,-1,18446744073709551615,2.5,1e3,99999999999999999999]}`)
	drv.Env["__impureHostDeps"], drv.Env["passAsFile"], drv.Env["exportReferencesGraph"] = "/ignored", "ignored", "odd"
	o := options(t, drv)
	checks := derivation.OutputChecks{AllowedReferences: []string{}, DisallowedRequisites: []string{"dev"}, MaxSize: size(10),
		MaxClosureSize: size(1<<64 - 1), IgnoreSelfRefs: true}
	for _, c := range []struct{ what, got, want any }{
		{"__noChroot", o.NoChroot, true},
		{"preferLocalBuild", o.PreferLocalBuild, true},
		{"allowSubstitutes", o.AllowSubstitutes, false},
		{"__impureHostDeps", o.ImpureHostDeps, []string{"/a b"}},
		{"impureEnvVars", o.ImpureEnvVars, []string{"V"}},
		{"requiredSystemFeatures", o.RequiredSystemFeatures, []string{"benchmark", "kvm"}},
		{"passAsFile", len(o.PassAsFile), 0},
		{"checks", o.Checks("out"), checks},
		{"checks of another", o.Checks("dev"), derivation.OutputChecks{}},
		{"graphs", o.ReferencesGraphs, []derivation.Graph{{"many", []string{"/nix/store/b", "/nix/store/c"}},
			{"none", []string{}}, {"one", []string{"/nix/store/a"}}}},
		{"unsafeDiscardReferences", []bool{o.DiscardReferences("out"), o.DiscardReferences("dev"), o.DiscardReferences("x")},
			[]bool{true, false, false}},
		{"numbers", o.Structured["numbers"], []any{int64(1), int64(-1), uint64(1<<64 - 1), 2.5, 1000.0, 1e20}},
		{"null", o.Structured["null"], nil},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %#v, want %#v", c.what, c.got, c.want)
		}
	}
	if o := options(t, withAttrs(`{}`)); o.Structured == nil || !o.AllowSubstitutes {
		t.Errorf("an empty object: %+v", o)
	}
	if o := options(t, withAttrs(`{"exportReferencesGraph":["a","b"]}`)); o.ReferencesGraphs != nil {
		t.Errorf("what is not an object is no graph: %+v", o.ReferencesGraphs)
	}
}

func TestOptionsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ json, want string }{
		{`{"__noChroot":1}`, "attribute '__noChroot' of derivation 'x' must be a Boolean"},
		{`{"__noChroot":"1"}`, "attribute '__noChroot' of derivation 'x' must be a Boolean"},
		{`{"allowSubstitutes":null}`, "attribute 'allowSubstitutes' of derivation 'x' must be a Boolean"},
		{`{"requiredSystemFeatures":"kvm"}`, "attribute 'requiredSystemFeatures' of derivation 'x' must be a list of strings"},
		{`{"requiredSystemFeatures":["kvm",1]}`, "attribute 'requiredSystemFeatures' of derivation 'x' must be a list of strings"},
		{`{"impureEnvVars":{}}`, "attribute 'impureEnvVars' of derivation 'x' must be a list of strings"},
		{`{"outputChecks":[]}`, "attribute 'outputChecks' of derivation 'x' must be an object"},
		{`{"outputChecks":{"out":1}}`, "attribute 'outputChecks.out' of derivation 'x' must be an object"},
		{`{"outputChecks":{"out":{"allowedReferences":"out"}}}`, "attribute 'outputChecks.out.allowedReferences' of derivation 'x' must be a list of strings"},
		{`{"outputChecks":{"out":{"maxSize":"1"}}}`, "attribute 'outputChecks.out.maxSize' of derivation 'x' must be a whole number of bytes"},
		{`{"outputChecks":{"out":{"maxSize":1.5}}}`, "attribute 'outputChecks.out.maxSize' of derivation 'x' must be a whole number of bytes"},
		{`{"outputChecks":{"out":{"maxSize":null}}}`, "attribute 'outputChecks.out.maxSize' of derivation 'x' must be a whole number of bytes"},
		{`{"outputChecks":{"out":{"maxClosureSize":-1}}}`, "attribute 'outputChecks.out.maxClosureSize' of derivation 'x' must not be negative"},
		{`{"outputChecks":{"out":{"ignoreSelfRefs":1}}}`, "attribute 'outputChecks.out.ignoreSelfRefs' of derivation 'x' must be a Boolean"},
		{`{"unsafeDiscardReferences":true}`, "attribute 'unsafeDiscardReferences' of derivation 'x' must be an object"},
		{`{"unsafeDiscardReferences":{"out":"x"}}`, "attribute 'unsafeDiscardReferences.out' of derivation 'x' must be a Boolean"},
		{`{"exportReferencesGraph":{"g":[1]}}`, "attribute 'exportReferencesGraph.g' of derivation 'x' must be a list of store paths"},
		{`{"exportReferencesGraph":{"g":{}}}`, "attribute 'exportReferencesGraph.g' of derivation 'x' must be a list of store paths"},
		{`{"exportReferencesGraph":{"outputs":[]}}`, "attribute 'exportReferencesGraph' of derivation 'x' has an invalid name: 'outputs'"},
		{`[]`, "attribute '__json' of derivation 'x' can't be read: not a JSON object"},
		{``, "attribute '__json' of derivation 'x' can't be read: "},
		{`{"a":1`, "attribute '__json' of derivation 'x' can't be read: "},
		{`{"a":1e999}`, "attribute '__json' of derivation 'x' can't be read: the number 1e999 is too large"},
		{"{\"a\":\"\xff\"}", "attribute '__json' of derivation 'x' can't be read: "},
		{strings.Repeat(`[`, 1<<20), "attribute '__json' of derivation 'x' can't be read: "},
	} {
		checkRefused(t, withAttrs(c.json), c.json, c.want)
	}
	twice := withEnv(map[string]string{"exportReferencesGraph": "a p b p", "exportBuildReferencesGraph": "b q"})
	checkRefused(t, twice, "a name twice", "derivation x: two references graphs have the name 'b'")
	for env, want := range map[string]string{
		"a":                             "odd number of tokens in '%s': 'a'",
		"a p b":                         "odd number of tokens in '%s': 'a p b'",
		"../a p":                        "invalid file name in '%s': '../a'",
		"a/b p":                         "invalid file name in '%s': 'a/b'",
		".attrs p":                      "invalid file name in '%s': '.attrs'",
		"1a p":                          "invalid file name in '%s': '1a'",
		strings.Repeat("x", 256) + " p": "invalid file name in '%s': 'xxx",
	} {
		for _, attr := range []string{"exportReferencesGraph", "exportBuildReferencesGraph"} {
			checkRefused(t, withEnv(map[string]string{attr: env}), env, "derivation x: "+fmt.Sprintf(want, attr))
		}
	}
}

func checkRefused(t *testing.T, drv *derivation.Derivation, what, want string) {
	t.Helper()
	_, err := drv.Options()
	var bad *derivation.AttributeError
	var nonsense *derivation.InvalidError
	if !errors.As(err, &bad) && !errors.As(err, &nonsense) || !strings.HasPrefix(err.Error(), want) || len(err.Error()) > 500 {
		t.Errorf("%.100s: %v, want %s", what, err, want)
	}
}

// Every derivation of a package set says what it asks for in a form that is understood.
func TestOptionsOfGraphs(t *testing.T) {
	t.Parallel()
	c := readCorpus(t, filepath.Join(fixture.Graphs(t), "corepkgs-drvs.tar.zst"))
	structured, graphs, checks := 0, 0, 0
	for _, p := range c.paths() {
		drv, err := c.read(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		o, err := drv.Options()
		if err != nil {
			t.Errorf("%s: %v", p, err)
			continue
		}
		if o.Structured != nil {
			structured++
		}
		graphs += len(o.ReferencesGraphs)
		for _, name := range drv.OutputNames() {
			if c := o.Checks(name); len(slices.Concat(c.DisallowedReferences, c.DisallowedRequisites)) > 0 || c.AllowedReferences != nil {
				checks++
			}
		}
	}
	if structured < 3000 || graphs != 2 || checks < 100 {
		t.Errorf("%d with structured attributes, %d graphs, %d outputs with checks", structured, graphs, checks)
	}
}

func FuzzOptions(f *testing.F) {
	f.Add(`{"outputChecks":{"out":{"maxSize":10}},"exportReferencesGraph":{"g":["/nix/store/x"]}}`, "g /nix/store/x")
	f.Add(`{"a":[1,-1,1.5e300,null,{"b":{}}]}`, "a b c")
	f.Fuzz(func(t *testing.T, json, graphs string) {
		for _, drv := range []*derivation.Derivation{withAttrs(json), withEnv(map[string]string{"exportReferencesGraph": graphs})} {
			o, err := drv.Options()
			if err != nil {
				continue
			}
			for _, g := range o.ReferencesGraphs {
				if drv.Env["__json"] == "" && filepath.Base(g.Name) != g.Name {
					t.Errorf("graph %q leaves the directory", g.Name)
				}
			}
			if again, err := withEnv(maps.Clone(drv.Env)).Options(); err != nil || !reflect.DeepEqual(o, again) {
				t.Errorf("%q: not the same twice: %v", drv.Env, err)
			}
		}
	})
}
