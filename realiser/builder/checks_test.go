package builder_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
)

// checked is a derivation of two outputs with the checks, as attributes of its
// environment, and as structured ones of the output out.
func checked(t *testing.T, checks map[string]any) (env, structured *derivation.Derivation) {
	t.Helper()
	addressed := func() *derivation.Derivation {
		d := withOutputs(derivation.Output{}, "out", "lib")
		for name := range d.Outputs {
			d.Outputs[name] = derivation.Output{Path: made(t, d, name)}
		}
		return d
	}
	env, structured = addressed(), addressed()
	for name, value := range checks {
		if list, ok := value.([]string); ok {
			env.Env[name] = strings.Join(list, " ")
		}
	}
	text, err := json.Marshal(map[string]any{"outputChecks": map[string]any{"out": checks}})
	if err != nil {
		t.Fatal(err)
	}
	structured.Env["__json"] = string(text)
	return env, structured
}

// The checks, with what they say of an output that refers to itself, to top, which
// refers to mid, which refers to low, and to lib, which refers to nothing.
func TestChecksOfReferences(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	low := l.addInput("low", "low")
	mid := l.addInput("mid", "mid", low)
	top := l.addInput("top", "top", mid)
	other := l.addInput("other", "other")
	d, _ := checked(t, nil)
	name := func(p store.StorePath) string { return store.DefaultDir.Join(p) }
	out, lib := name(made(t, d, "out")), name(made(t, d, "lib"))
	build := func(at map[string]place) error {
		return errors.Join(at["out"].write(out+lib+name(top)), at["lib"].write("lib"))
	}
	via := func(paths ...string) string {
		return fmt.Sprintf("%s (%s)", paths[len(paths)-1], strings.Join(paths, " -> "))
	}
	midVia, lowVia := via(out, name(top), name(mid)), via(out, name(top), name(mid), name(low))
	for _, c := range []struct {
		check string
		list  []string
		bad   []string // in the environment
		also  []string // only as a structured attribute, where an output is among its own requisites
	}{
		{"allowedReferences", []string{"out", "lib", name(top)}, nil, nil},
		{"allowedReferences", []string{out, lib, name(top), name(other)}, nil, nil},
		{"allowedReferences", []string{"out", name(top)}, []string{lib}, nil},
		{"allowedReferences", nil, []string{out, lib, name(top)}, nil},
		{"allowedRequisites", []string{"out", "lib", name(top), name(mid), name(low)}, nil, nil},
		{"allowedRequisites", []string{"lib", name(top), name(mid), name(low)}, nil, []string{out}},
		{"allowedRequisites", []string{"out", "lib", name(top)}, []string{midVia, lowVia}, nil},
		{"allowedRequisites", []string{"out", "lib", name(top), name(mid)}, []string{lowVia}, nil},
		{"disallowedReferences", nil, nil, nil},
		{"disallowedReferences", []string{name(mid), name(low), name(other)}, nil, nil},
		{"disallowedReferences", []string{"lib", name(top)}, []string{lib, name(top)}, nil},
		{"disallowedReferences", []string{"out"}, []string{out}, nil},
		{"disallowedRequisites", []string{name(other)}, nil, nil},
		{"disallowedRequisites", []string{name(low), name(other)}, []string{lowVia}, nil},
		{"disallowedRequisites", []string{"lib", name(mid)}, []string{lib, midVia}, nil},
		{"disallowedRequisites", []string{"out"}, nil, []string{out}},
	} {
		list := append([]string{}, c.list...)
		env, structured := checked(t, map[string]any{c.check: list})
		_, lenient := checked(t, map[string]any{c.check: list, "ignoreSelfRefs": true})
		for _, x := range []struct {
			name string
			drv  *derivation.Derivation
			bad  []string
		}{{"env", onlyOut(env), c.bad}, {"structured", structured, append(slices.Clone(c.bad), c.also...)}, {"ignoreSelfRefs", lenient, c.bad}} {
			_, err := l.build(x.drv, build)
			var forbidden *result.ForbiddenReferencesError
			var failed *result.BuildError
			if len(x.bad) == 0 {
				if err != nil {
					t.Errorf("%s %s = %v: %v", x.name, c.check, c.list, err)
				} else if _, err := l.store.Delete(t.Context(), made(t, d, "out"), made(t, d, "lib")); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if !errors.As(err, &failed) || failed.Status != result.OutputRejected || !errors.As(err, &forbidden) {
				t.Errorf("%s %s = %v: %v, expected to be rejected because of %v", x.name, c.check, c.list, err, x.bad)
				continue
			}
			head, tail, _ := strings.Cut(err.Error(), " is not allowed to refer to the following paths: ")
			got := strings.Split(tail, ", ")
			slices.Sort(got)
			slices.Sort(x.bad)
			if head != "output '"+out+"'" || !slices.Equal(got, x.bad) {
				t.Errorf("%s %s = %v: %v, expected %v", x.name, c.check, c.list, err, x.bad)
			}
		}
	}
}

// onlyOut leaves a check of the environment, which goes for all outputs, with none
// that lib could fail: it has no references.
func onlyOut(d *derivation.Derivation) *derivation.Derivation {
	if list, ok := d.Env["allowedRequisites"]; ok {
		d.Env["allowedRequisites"] = list + " lib"
	}
	return d
}

// A specifier must be a store path or the name of an output.
func TestReferenceSpecifiers(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	build := func(at map[string]place) error { return errors.Join(at["out"].write("x"), at["lib"].write("x")) }
	for _, bad := range []string{"nonsense", "Out", "/etc/passwd", "/nix/store", "/nix/store/ri33cw60p5dwrh3g4cbbzw8nfwmi17wf-dep/file", "ri33cw60p5dwrh3g4cbbzw8nfwmi17wf-dep"} {
		for _, check := range []string{"allowedReferences", "allowedRequisites", "disallowedReferences", "disallowedRequisites"} {
			env, structured := checked(t, map[string]any{check: []string{"out", bad}})
			for _, drv := range []*derivation.Derivation{env, structured} {
				says := l.refused(result.OutputRejected, drv, build)
				if !strings.HasPrefix(says, "derivation contains an illegal reference specifier '"+bad+"'") || !strings.Contains(says, "(lib, out)") {
					t.Error(says)
				}
			}
		}
	}
}

func TestChecksOfSizes(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	input := l.addInput("input", strings.Repeat("i", 1000))
	info, err := l.store.PathInfo(t.Context(), input)
	if err != nil {
		t.Fatal(err)
	}
	const own = 112 + 8*8 // bytes of a NAR with a path in it
	whole := int(info.NarSize) + own
	build := func(at map[string]place) error {
		return errors.Join(at["out"].write(store.DefaultDir.Join(input)+strings.Repeat("x", 64-len(store.DefaultDir.Join(input)))), at["lib"].write(strings.Repeat("x", 5000)))
	}
	for _, c := range []struct {
		check string
		most  int
		says  string
	}{
		{"maxSize", own, ""},
		{"maxSize", own - 1, fmt.Sprintf("is too large at %d bytes; limit is %d bytes", own, own-1)},
		{"maxSize", 0, "limit is 0 bytes"},
		{"maxClosureSize", whole, ""},
		{"maxClosureSize", whole - 1, fmt.Sprintf("is too large at %d bytes; limit is %d bytes", whole, whole-1)},
	} {
		_, drv := checked(t, map[string]any{c.check: c.most})
		if c.says != "" {
			if says := l.refused(result.OutputRejected, drv, build); !strings.Contains(says, c.says) {
				t.Errorf("%s = %d: %s", c.check, c.most, says)
			}
			continue
		}
		infos := l.mustBuild(drv, build)
		if infos["out"].NarSize != own {
			t.Fatalf("the output has %d bytes", infos["out"].NarSize)
		}
		if _, err := l.store.Delete(t.Context(), infos["out"].Path, infos["lib"].Path); err != nil {
			t.Fatal(err)
		}
	}
}

// What is discarded is not checked, and what is registered then has no references.
func TestDiscardedReferencesAreNotChecked(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	input := l.addInput("input", "i")
	_, drv := checked(t, nil)
	drv.Env["__json"] = `{"outputChecks":{"out":{"allowedReferences":[]}},"unsafeDiscardReferences":{"out":true,"lib":false}}`
	infos := l.mustBuild(drv, func(at map[string]place) error {
		return errors.Join(at["out"].write(at["lib"].path+at["out"].path), at["lib"].write(store.DefaultDir.Join(input)))
	})
	if out, lib := infos["out"].References, infos["lib"].References; len(out) != 0 || !slices.Equal(lib, []store.StorePath{input}) {
		t.Errorf("out refers to %v, lib to %v", out, lib)
	}
}

// Checks of a floating output are of its final path, and its siblings'.
func TestChecksOfFloatingOutputs(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	build := func(at map[string]place) error {
		return errors.Join(at["out"].write(at["lib"].path+at["out"].path), at["lib"].write("lib"))
	}
	drv := floating(store.Recursive, store.SHA256, "out", "lib")
	drv.Env["allowedReferences"] = "lib out"
	infos := l.mustBuild(drv, build)
	drv.Env["allowedReferences"] = "out"
	lib := store.DefaultDir.Join(infos["lib"].Path)
	if says := l.refused(result.OutputRejected, drv, build); !strings.HasSuffix(says, "following paths: "+lib) {
		t.Error(says)
	}
	drv.Env["allowedReferences"] = "out " + lib
	l.mustBuild(drv, build)
}

// A long list of bad paths is cut.
func TestManyForbiddenReferences(t *testing.T) {
	t.Parallel()
	e := &result.ForbiddenReferencesError{Output: "/nix/store/x"}
	for i := range 12 {
		e.Chains = append(e.Chains, []string{"/nix/store/x", fmt.Sprint("/nix/store/", i)})
	}
	if says := e.Error(); !strings.HasSuffix(says, "/nix/store/9, and 2 more") {
		t.Error(says)
	}
}
