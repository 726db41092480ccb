package builder

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"larder/store"
	"larder/store/derivation"
)

const (
	dep  = "/nix/store/ri33cw60p5dwrh3g4cbbzw8nfwmi17wf-dep"
	dep2 = "/nix/store/vfpk85yybl7ajvq2fyzwgay2j843ckrk-dep2"
	drv1 = "/nix/store/lk80pmykwikkmqkk2f4w9dywqgsza15c-dep.drv"
	drv2 = "/nix/store/4pd7x139kj8ji1bng82zn7xs1xwf901z-dep2.drv"
)

// knownPaths is a Store that knows some path infos and derivations.
type knownPaths struct {
	Store
	infos map[store.StorePath]*store.PathInfo
	drvs  map[store.StorePath]*derivation.Derivation
	roots map[store.StorePath]int
}

func (k *knownPaths) AddTempRoot(paths ...store.StorePath) (release func()) {
	for _, p := range paths {
		k.roots[p]++
	}
	return func() {
		for _, p := range paths {
			k.roots[p]--
		}
	}
}

func (k *knownPaths) add(t *testing.T, path string, size uint64, refs ...string) *store.PathInfo {
	t.Helper()
	info := &store.PathInfo{Path: storePath(t, path), NarSize: size, NarHash: store.SHA256.Sum([]byte(path))}
	for _, r := range refs {
		info.References = append(info.References, storePath(t, r))
	}
	k.infos[info.Path] = info
	return info
}

func (k *knownPaths) PathInfo(_ context.Context, p store.StorePath) (*store.PathInfo, error) {
	if info := k.infos[p]; info != nil {
		return info, nil
	}
	return nil, &store.PathError{Op: "path info of", Path: p, Err: store.ErrNotValid}
}

func (k *knownPaths) Closure(ctx context.Context, paths []store.StorePath) (closure []store.StorePath, err error) {
	for todo := slices.Clone(paths); len(todo) > 0; todo = todo[1:] {
		info, err := k.PathInfo(ctx, todo[0])
		if err != nil {
			return nil, err
		}
		if !slices.Contains(closure, todo[0]) {
			closure = append(closure, todo[0])
			todo = append(todo, info.References...)
		}
	}
	return closure, nil
}

func (k *knownPaths) Derivation(_ context.Context, p store.StorePath) (*derivation.Derivation, error) {
	if drv := k.drvs[p]; drv != nil {
		return drv, nil
	}
	return nil, &store.PathError{Op: "read", Path: p, Err: store.ErrNotValid}
}

func newKnownPaths(t *testing.T) *knownPaths {
	k := &knownPaths{infos: map[store.StorePath]*store.PathInfo{}, drvs: map[store.StorePath]*derivation.Derivation{},
		roots: map[store.StorePath]int{}}
	k.add(t, dep, 100)
	k.add(t, dep2, 20, dep2, dep).CA = store.ContentAddress{Method: store.Recursive, Hash: store.SHA256.Sum(nil)}
	k.add(t, drv1, 3)
	k.add(t, drv2, 4, drv1)
	for drv, out := range map[string]string{drv1: dep, drv2: dep2} {
		k.drvs[storePath(t, drv)] = &derivation.Derivation{Outputs: map[string]derivation.Output{"out": {Path: storePath(t, out)}}}
	}
	return k
}

func TestReferencesGraphs(t *testing.T) {
	k := newKnownPaths(t)
	b := prepare(t, k, map[string]string{
		"exportReferencesGraph": "run " + dep2 + "/bin/sh one " + dep, "exportBuildReferencesGraph": "build " + drv2,
	}, nil)
	for p := range k.infos {
		b.Inputs = append(b.Inputs, p)
	}
	if err := b.writeGraphs(); err != nil {
		t.Fatal(err)
	}
	one := dep + "\n\n0\n"
	two := dep2 + "\n\n2\n" + dep + "\n" + dep2 + "\n"
	for name, want := range map[string]string{
		"one": one, "run": one + two, "build": drv2 + "\n\n1\n" + drv1 + "\n" + drv1 + "\n\n0\n" + one + two,
	} {
		if got := b.readFile(t, name); got != want {
			t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
		}
	}
	// They are no inputs, so that nobody else keeps them while they are described.
	for _, out := range []string{dep, dep2} {
		if k.roots[storePath(t, out)] == 0 {
			t.Errorf("%s may be collected as garbage", out)
		}
	}
	for _, unroot := range b.unroot {
		unroot()
	}
	for p, n := range k.roots {
		if n != 0 {
			t.Errorf("%s has %d roots", p, n)
		}
	}
}

func TestStructuredReferencesGraph(t *testing.T) {
	k := newKnownPaths(t)
	b := prepare(t, k, map[string]string{"__json": `{"exportReferencesGraph":{"all":["` + dep + `",["` + dep2 + `"]],"none":[]}}`}, nil)
	b.Inputs = []store.StorePath{storePath(t, dep), storePath(t, dep2)}
	if err := b.writeAttrs(map[string]string{}); err != nil {
		t.Fatal(err)
	}
	hash := func(path string) string { return k.infos[storePath(t, path)].NarHash.Text(store.Nix32) }
	want := `{"all":[{"closureSize":100,"narHash":"` + hash(dep) + `","narSize":100,"path":"` + dep + `","references":[]},` +
		`{"ca":"` + k.infos[storePath(t, dep2)].CA.String() + `","closureSize":120,"narHash":"` + hash(dep2) + `","narSize":20,"path":"` + dep2 +
		`","references":["` + dep + `","` + dep2 + `"]}],"exportReferencesGraph":{"all":["` + dep + `",["` + dep2 + `"]],"none":[]},"none":[],"outputs":{}}`
	if got := b.readFile(t, ".attrs.json"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A derivation of some megabytes could ask for the description of one closure a hundred thousand times.
func TestTooManyReferencesGraphs(t *testing.T) {
	for already, refused := range map[int]bool{0: false, maxDescribed - 8: false, maxDescribed - 7: true} {
		b := prepare(t, newKnownPaths(t), map[string]string{"exportReferencesGraph": "a " + dep2 + " b " + dep2}, nil)
		b.Inputs, b.described = []store.StorePath{storePath(t, dep2)}, already
		if err := b.writeGraphs(); errors.As(err, &refusal{}) != refused || !refused && err != nil {
			t.Errorf("%d before: %v", already, err)
		}
	}
}

func TestReferencesGraphRefused(t *testing.T) {
	for _, c := range []struct{ path, want string }{
		{"/etc/passwd", "'exportReferencesGraph' contains a non-store path '/etc/passwd'"},
		{derivation.Placeholder("out"), "contains a non-store path"},
		{"/nix/store/x", "'exportReferencesGraph' contains a bad path"},
		{dep, "cannot export references of path '" + dep + "' because it is not in the input closure of the derivation"},
		{drv2, "it is deferred, so its text does not say what its output 'out' is"},
		{drv1, "an output of a derivation in the graph is missing"},
	} {
		k := newKnownPaths(t)
		delete(k.infos, storePath(t, dep))
		k.drvs[storePath(t, drv2)].Outputs["out"] = derivation.Output{}
		b := prepare(t, k, map[string]string{"exportReferencesGraph": "g " + c.path}, nil)
		b.Inputs = []store.StorePath{storePath(t, drv1), storePath(t, drv2)}
		err := b.writeGraphs()
		if !errors.As(err, &refusal{}) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.path, err, c.want)
		}
	}
}
