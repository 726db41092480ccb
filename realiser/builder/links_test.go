package builder_test

import (
	"errors"
	"os"
	"testing"

	"larder/store"
	"larder/store/derivation"
)

// A file with links in several outputs, and several in one, is in all of them what
// it was; also where hash parts in it are replaced, which outputs have their own of.
func TestHardLinks(t *testing.T) {
	t.Parallel()
	for name, drv := range map[string]*derivation.Derivation{
		"input-addressed": withOutputs(derivation.Output{}, "a", "b", "out"),
		"floating":        floating(store.Recursive, store.SHA256, "a", "b", "out"),
		"impure":          withOutputs(derivation.Output{Method: store.Recursive, HashAlgo: store.SHA256, Impure: true}, "a", "b", "out"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			if name == "input-addressed" {
				for output := range drv.Outputs {
					drv.Outputs[output] = derivation.Output{Path: made(t, drv, output)}
				}
			}
			infos := l.mustBuild(drv, func(at map[string]place) error {
				a, b, out := at["a"], at["b"], at["out"]
				return errors.Join(a.write(out.path), os.Chmod(a.file, 0o711), os.Mkdir(b.file, 0o755),
					os.Mkdir(out.file, 0o755), os.Link(a.file, b.file+"/1"), os.Link(a.file, b.file+"/2"), os.Symlink("nowhere", out.file+"/3"),
					os.Link(out.file+"/3", b.file+"/3"))
			})
			// Each names out, by its final path.
			text := store.DefaultDir.Join(infos["out"].Path)
			for _, file := range []string{l.store.ObjectPath(infos["a"].Path), l.store.ObjectPath(infos["b"].Path) + "/1", l.store.ObjectPath(infos["b"].Path) + "/2"} {
				got, err := os.ReadFile(file)
				if err != nil || string(got) != text {
					t.Errorf("%s is %q, %v, want %q", file, got, err, text)
				}
				st, err := os.Stat(file)
				if err != nil || st.Mode() != 0o555 || st.ModTime().Unix() != 1 {
					t.Errorf("%s: %v %v", file, st, err)
				}
			}
			for _, output := range []string{"b", "out"} {
				if target, err := os.Readlink(l.store.ObjectPath(infos[output].Path) + "/3"); err != nil || target != "nowhere" {
					t.Errorf("the link in %s leads to %s, %v", output, target, err)
				}
			}
		})
	}
}

// Outputs may be links to each other, or to what is not in the store.
func TestOutputsThatAreSymlinks(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	drv := floating(store.Recursive, store.SHA256, "a", "b", "c")
	infos := l.mustBuild(drv, func(at map[string]place) error {
		return errors.Join(os.Symlink(at["b"].path, at["a"].file), os.Symlink("/etc/passwd", at["b"].file), os.Symlink("c", at["c"].file))
	})
	for output, want := range map[string]string{"a": store.DefaultDir.Join(infos["b"].Path), "b": "/etc/passwd", "c": "c"} {
		if target, err := os.Readlink(l.store.ObjectPath(infos[output].Path)); err != nil || target != want {
			t.Errorf("%s leads to %s, %v, want %s", output, target, err, want)
		}
	}
	if refs := infos["a"].References; len(refs) != 1 || refs[0] != infos["b"].Path {
		t.Errorf("a refers to %v", refs)
	}
}
