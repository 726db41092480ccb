package builder_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/nar"
	"larder/realiser/content"
	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
	"larder/store/local"
)

// checkObject compares an object with its path info, and that with its path.
func (l *lab) checkObject(info *store.PathInfo) {
	l.t.Helper()
	valid, err := l.store.PathInfo(l.t.Context(), info.Path)
	if err != nil {
		l.t.Fatal(err)
	}
	if valid.NarHash != info.NarHash || !slices.Equal(valid.References, info.References) {
		l.t.Errorf("registered as %+v, made as %+v", valid, info)
	}
	object := l.store.ObjectPath(info.Path)
	var archive bytes.Buffer
	if _, err := nar.Dump(l.t.Context(), &archive, object); err != nil {
		l.t.Fatal(err)
	}
	if got := store.SHA256.Sum(archive.Bytes()); got != info.NarHash || uint64(archive.Len()) != info.NarSize {
		l.t.Errorf("%s has %s and %d bytes, the info says %s and %d", info.Path, got, archive.Len(), info.NarHash, info.NarSize)
	}
	if info.CA.IsZero() {
		return
	}
	if !info.ContentAddressed(store.DefaultDir) {
		l.t.Errorf("the path %s does not follow from %s and %v", info.Path, info.CA, info.References)
	}
	// As anybody verifies it who gets the object from a cache.
	got, err := content.Of(l.t.Context(), unix.AT_FDCWD, object, info.CA.Method, info.CA.Hash.Algo(), info.Path.HashPart())
	if err != nil || got != info.CA.Hash {
		l.t.Errorf("%s: content hash %v, %v; the info says %s", info.Path, got, err, info.CA)
	}
}

// checkNothingLeft finds temporary objects that nobody removed.
func (l *lab) checkNothingLeft() {
	l.t.Helper()
	entries, err := os.ReadDir(l.store.ObjectDir())
	if err != nil {
		l.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), local.TempPrefix) {
			l.t.Errorf("%s is left", e.Name())
		}
	}
}

// Wherever a hash part stands, it is that of the final path in the end: in
// contents, across the borders of buffers, in names and in targets of symlinks.
func TestSelfReferencesAreRewritten(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	drv := floating(store.Recursive, store.SHA256, "out")
	build := func(at map[string]place) error {
		out := at["out"]
		part := made(t, drv, "out").HashPart()
		var big strings.Builder
		for i := range 3000 {
			big.WriteString(strings.Repeat("x", i%613) + out.path)
		}
		return errors.Join(os.MkdirAll(out.file+"/lib", 0o755), os.WriteFile(out.file+"/big", []byte(big.String()), 0o755),
			os.WriteFile(out.file+"/lib/name-"+part, []byte(part+part), 0o644), os.Symlink(out.path+"/big", out.file+"/link"))
	}
	info := l.mustBuild(drv, build)["out"]
	if !slices.Equal(info.References, []store.StorePath{info.Path}) || info.Path == made(t, drv, "out") {
		t.Errorf("%+v", info)
	}
	object, part := l.store.ObjectPath(info.Path), info.Path.HashPart()
	var archive bytes.Buffer
	if _, err := nar.Dump(t.Context(), &archive, object); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(archive.Bytes(), []byte(made(t, drv, "out").HashPart())) {
		t.Error("the path where it was made is still in it")
	}
	if target, err := os.Readlink(object + "/link"); err != nil || target != store.DefaultDir.Join(info.Path)+"/big" {
		t.Errorf("the link leads to %s, %v", target, err)
	}
	if text, err := os.ReadFile(object + "/lib/name-" + part); err != nil || string(text) != part+part {
		t.Errorf("%q, %v", text, err)
	}
	// Made elsewhere, the same comes out.
	other := floating(store.Recursive, store.SHA256, "out")
	other.Outputs["out"] = derivation.Output{Method: store.Recursive, HashAlgo: store.SHA256, Path: l.addInput("x", "elsewhere")}
	l.inputs = nil
	drv = other
	if again := l.mustBuild(other, build)["out"]; again.Path != info.Path || again.NarHash != info.NarHash {
		t.Errorf("made elsewhere: %+v, want %+v", again, info)
	}
}

// Outputs are settled after those that they refer to, and say so with final paths.
func TestOutputsThatReferToEachOther(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	input := l.addInput("input", "i")
	drv := floating(store.Recursive, store.SHA256, "a", "b", "c")
	// In the order of names each comes before what it refers to.
	infos := l.mustBuild(drv, func(at map[string]place) error {
		return errors.Join(
			at["a"].write(at["b"].path+" "+at["c"].path),
			at["b"].write(at["b"].path+" "+at["c"].path+" "+store.DefaultDir.Join(input)),
			at["c"].write("c"))
	})
	a, b, c := infos["a"], infos["b"], infos["c"]
	for _, x := range []struct {
		info *store.PathInfo
		want []store.StorePath
	}{{a, []store.StorePath{b.Path, c.Path}}, {b, []store.StorePath{b.Path, c.Path, input}}, {c, nil}} {
		if !slices.Equal(x.info.References, store.SortPaths(x.want)) {
			t.Errorf("%s refers to %v, want %v", x.info.Path, x.info.References, x.want)
		}
	}
	text, err := os.ReadFile(l.store.ObjectPath(a.Path))
	if want := store.DefaultDir.Join(b.Path) + " " + store.DefaultDir.Join(c.Path); err != nil || string(text) != want {
		t.Errorf("a is %q, %v, want %q", text, err, want)
	}
}

// A text may refer to other outputs, but not to itself; its hash is that of what it
// says in the end.
func TestFloatingText(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	drv := floating(store.Text, store.SHA256, "a", "b")
	infos := l.mustBuild(drv, func(at map[string]place) error {
		return errors.Join(at["a"].write(at["b"].path), at["b"].write("b"))
	})
	text := store.DefaultDir.Join(infos["b"].Path)
	if want := (store.ContentAddress{Method: store.Text, Hash: store.SHA256.Sum([]byte(text))}); infos["a"].CA != want {
		t.Errorf("%+v, want %s", infos["a"], want)
	}
	says := l.refused(result.OutputRejected, floating(store.Text, store.SHA256, "out"), func(at map[string]place) error { return at["out"].write(at["out"].path) })
	if !strings.Contains(says, "must not refer to itself") {
		t.Error(says)
	}
}

// Every method with every algorithm.
func TestFloatingMethods(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	input := l.addInput("input", "i")
	for _, m := range []store.Method{store.Text, store.Flat, store.Recursive, store.Git} {
		for _, a := range []store.HashAlgo{store.MD5, store.SHA1, store.SHA256, store.SHA512, store.BLAKE3} {
			if m.CheckAlgo(a) != nil {
				continue
			}
			drv := floating(m, a, "out")
			info := l.mustBuild(drv, func(at map[string]place) error { return at["out"].write("hello") })["out"]
			if info.CA.Method != m || info.CA.Hash.Algo() != a || len(info.References) > 0 || !info.Ultimate {
				t.Errorf("%s %s: %+v", m, a, info)
			}
			refer := func(at map[string]place) error { return at["out"].write(store.DefaultDir.Join(input)) }
			if m == store.Text || m == store.Recursive && a == store.SHA256 {
				l.mustBuild(drv, refer)
			} else if says := l.refused(result.OutputRejected, drv, refer); !strings.Contains(says, "must not refer to '"+store.DefaultDir.Join(input)) {
				t.Errorf("%s %s: %s", m, a, says)
			}
			discard := floating(m, a, "out")
			discard.Env["__json"] = `{"unsafeDiscardReferences":{"out":true}}`
			if info := l.mustBuild(discard, refer)["out"]; len(info.References) > 0 {
				t.Errorf("%s %s with unsafeDiscardReferences: %+v", m, a, info)
			}
			dir := func(at map[string]place) error { return os.Mkdir(at["out"].file, 0o755) }
			if m == store.Recursive || m == store.Git {
				l.mustBuild(drv, dir)
			} else if says := l.refused(result.OutputRejected, drv, dir); !strings.Contains(says, "should be a non-executable regular file") {
				t.Errorf("%s %s: %s", m, a, says)
			}
			link := func(at map[string]place) error { return os.Symlink("x", at["out"].file) }
			if m == store.Recursive {
				l.mustBuild(drv, link)
			} else {
				l.refused(result.OutputRejected, drv, link)
			}
		}
	}
}

// References that are discarded are rewritten all the same.
func TestDiscardedReferences(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	drv := floating(store.Recursive, store.SHA256, "a", "b")
	drv.Env["__json"] = `{"unsafeDiscardReferences":{"b":true}}`
	infos := l.mustBuild(drv, func(at map[string]place) error {
		// A circle, if b's reference counted.
		return errors.Join(at["a"].write("a"), at["b"].write(at["a"].path+at["b"].path))
	})
	if n := len(infos["b"].References); n != 0 {
		t.Errorf("%d references", n)
	}
	text, err := os.ReadFile(l.store.ObjectPath(infos["b"].Path))
	if want := store.DefaultDir.Join(infos["a"].Path) + store.DefaultDir.Join(infos["b"].Path); err != nil || string(text) != want {
		t.Errorf("%q, %v, want %q", text, err, want)
	}
}

// The order of names in a directory is part of what is hashed, so that it must be
// the same with the final path.
func TestNamesThatChangeTheirOrder(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	refusals := 0
	// Whether the order changes depends on the hash; it does not always.
	for i := range 20 {
		drv := floating(store.Recursive, store.SHA256, "out")
		infos, err := l.build(drv, func(at map[string]place) error {
			out := at["out"]
			var errs []error
			for _, name := range []string{made(t, drv, "out").HashPart(), strings.Repeat("8", 32), strings.Repeat("h", 32)} {
				errs = append(errs, os.MkdirAll(filepath.Join(out.file, name), 0o755))
			}
			return errors.Join(append(errs, os.WriteFile(out.file+"/i", []byte{byte(i)}, 0o644))...)
		})
		if err == nil {
			l.checkObject(infos["out"])
			continue
		}
		refusals++
		var e *result.BuildError
		if !errors.As(err, &e) || e.Status != result.OutputRejected || !strings.Contains(err.Error(), "name of a file in output 'out'") {
			t.Fatal(err)
		}
	}
	if refusals == 0 || refusals == 20 {
		t.Errorf("%d of 20 were refused", refusals)
	}
}

// What is valid already keeps its object.
func TestFinalPathIsValidAlready(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	drv := floating(store.Recursive, store.SHA256, "out")
	build := func(at map[string]place) error { return at["out"].write("same " + at["out"].path) }
	first := l.mustBuild(drv, build)["out"]
	before, err := os.Stat(l.store.ObjectPath(first.Path))
	if err != nil {
		t.Fatal(err)
	}
	second := l.mustBuild(drv, build)["out"]
	after, err := os.Stat(l.store.ObjectPath(first.Path))
	if err != nil || second.Path != first.Path || !os.SameFile(before, after) {
		t.Errorf("%v: %+v, then %+v", err, first, second)
	}
}

// Of outputs some of which are valid the others are registered, and refer to those.
func TestSomeOutputsAreValid(t *testing.T) {
	t.Parallel()
	for name, drv := range map[string]*derivation.Derivation{
		"floating":        floating(store.Recursive, store.SHA256, "dev", "lib", "out"),
		"input-addressed": withOutputs(derivation.Output{}, "dev", "lib", "out"),
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, nil)
			if name == "input-addressed" {
				for output := range drv.Outputs {
					drv.Outputs[output] = derivation.Output{Path: made(t, drv, output)}
				}
			}
			build := func(at map[string]place) error {
				return errors.Join(at["lib"].write("lib"), at["out"].write(at["lib"].path), at["dev"].write(at["out"].path))
			}
			first := l.mustBuild(drv, build)
			lib := l.store.ObjectPath(first["lib"].Path)
			before, err := os.Stat(lib)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.store.Delete(t.Context(), first["dev"].Path, first["out"].Path); err != nil {
				t.Fatal(err)
			}
			// A known path is where the builder makes the output.
			o := drv.Outputs["lib"]
			o.Path = first["lib"].Path
			drv.Outputs["lib"] = o
			l.absent = []string{"dev", "out"}
			second := l.mustBuild(drv, build)
			for _, output := range l.absent {
				if second[output].Path != first[output].Path || second[output].NarHash != first[output].NarHash {
					t.Errorf("%s was %+v, is %+v", output, first[output], second[output])
				}
			}
			after, err := os.Stat(lib)
			if err != nil || second["lib"] != nil || !os.SameFile(before, after) {
				t.Errorf("lib was made anew: %v %v", err, second["lib"])
			}
		})
	}
}

func TestCycle(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	for _, drv := range []*derivation.Derivation{floating(store.Recursive, store.SHA256, "a", "b", "c")} {
		says := l.refused(result.OutputRejected, drv, func(at map[string]place) error {
			return errors.Join(at["a"].write(at["b"].path), at["b"].write(at["c"].path), at["c"].write(at["a"].path))
		})
		if !strings.Contains(says, "cycle detected in build of") || !strings.Contains(says, "in the references of output 'a' from output 'c'") {
			t.Error(says)
		}
	}
}

// An impure builder has the machine's network, over which it can give descriptors
// away.
func TestDescriptorsOfImpureOutputsDoNotReachTheStore(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	var leaked *os.File
	t.Cleanup(func() { leaked.Close() })
	drv := withOutputs(derivation.Output{Method: store.Recursive, HashAlgo: store.SHA256, Impure: true}, "out")
	info := l.mustBuild(drv, func(at map[string]place) (err error) {
		if leaked, err = os.Create(at["out"].file); err != nil {
			return err
		}
		_, err = leaked.WriteString("good")
		return err
	})["out"]
	if _, err := leaked.WriteAt([]byte("evil"), 0); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(l.store.ObjectPath(info.Path)); err != nil || string(text) != "good" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestMissingOutput(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	drv := floating(store.Recursive, store.SHA256, "a", "b")
	says := l.refused(result.OutputRejected, drv, func(at map[string]place) error { return at["a"].write("a") })
	if !strings.Contains(says, "failed to produce output path for output 'b' at '"+store.DefaultDir.Join(made(t, drv, "b"))) {
		t.Error(says)
	}
	if _, err := os.Stat(l.store.ObjectPath(made(t, drv, "a"))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was made is in the store: %v", err)
	}
}
