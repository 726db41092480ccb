package realiser_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"larder/realiser"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
	"larder/store/local"
)

// What is made anew may refer to outputs that were valid before: those stay, though
// nobody asked for them, also if garbage is collected while the builder runs.
func TestValidOutputsStayDuringBuild(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]derivation.Output{"input-addressed": {}, "floating": {Method: store.Recursive, HashAlgo: store.SHA256}} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			collect := false
			build := fakeBuilder(func(spec *sandbox.Spec) error {
				if collect {
					if _, err := s.GC(t.Context(), local.GCOptions{}); err != nil {
						return err
					}
				}
				lib := string(store.DefaultDir) + "/" + filepath.Base(outputOf(spec, "lib"))
				return errors.Join(os.WriteFile(outputOf(spec, "lib"), []byte("lib"), 0o644), os.WriteFile(outputOf(spec, "out"), []byte(lib), 0o644))
			})
			drv := addDerivation(t, s, &derivation.Derivation{Outputs: map[string]derivation.Output{"out": o, "lib": o}})
			r := open(t, s, build, nil)
			first := realise(t, r, drv)
			if first.Err != nil {
				t.Fatal(first.Err)
			}
			out, lib := first.Outputs["out"], first.Outputs["lib"]
			if _, err := s.Delete(t.Context(), out); err != nil {
				t.Fatal(err)
			}
			before, err := os.Stat(s.ObjectPath(lib))
			if err != nil {
				t.Fatal(err)
			}
			garbage, err := s.AddText(t.Context(), "garbage", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			collect = true
			o, err := r.Build(t.Context(), store.Caller{}, realiser.Request{Targets: []realiser.Target{{Drv: drv, Outputs: []string{"out"}}}})
			if err != nil || o.Results[0].Err != nil || o.Results[0].Outputs["out"] != out {
				t.Fatalf("%v, %+v", err, o)
			}
			if s.IsPresent(garbage) {
				t.Error("nothing was collected")
			}
			after, err := os.Stat(s.ObjectPath(lib))
			if err != nil || !os.SameFile(before, after) {
				t.Errorf("lib is another object: %v", err)
			}
		})
	}
}
