package builder

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"larder/store"
	"larder/store/derivation"
)

// Variables of the daemon reach builders whose result does not depend on them, or
// may: those with a fixed and with an impure output.
func TestImpureEnvVars(t *testing.T) {
	flat := store.ContentAddress{Method: store.Flat, Hash: store.SHA256.Sum(nil)}
	for name, c := range map[string]struct {
		output         derivation.Output
		passed, checks bool
	}{
		"input-addressed": {derivation.Output{Path: storePath(t, dep)}, false, false},
		"floating":        {derivation.Output{HashAlgo: store.SHA256, Method: store.Recursive}, false, false},
		"fixed":           {derivation.Output{CA: flat}, true, true},
		"impure":          {derivation.Output{HashAlgo: store.SHA256, Method: store.Recursive, Impure: true}, true, false},
	} {
		for form, env := range map[string]map[string]string{
			"environment": {"impureEnvVars": "proxy unset TMPDIR TERM", "proxy": "the derivation's"},
			"structured":  {"__json": `{"impureEnvVars":["proxy","unset","TMPDIR","TERM"],"proxy":"the derivation's"}`},
		} {
			b := prepare(t, nil, env, map[string]store.StorePath{"out": storePath(t, dep)})
			b.Drv.Outputs["out"] = c.output
			b.opt.Getenv = func(name string) (string, bool) {
				if name == "unset" {
					return "", false
				}
				return "the daemon's", true
			}
			got, err := b.environment()
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"proxy": "the derivation's", "TMPDIR": "/build", "TERM": "xterm-256color"}
			if form == "structured" {
				delete(want, "proxy")
			}
			if c.passed {
				maps.Copy(want, map[string]string{"proxy": "the daemon's", "TMPDIR": "the daemon's", "unset": ""})
			}
			if c.checks {
				want["NIX_OUTPUT_CHECKED"] = "1"
			}
			for _, v := range []string{"proxy", "unset", "TMPDIR", "TERM", "NIX_OUTPUT_CHECKED"} {
				value, there := got[v]
				if expected, ok := want[v]; value != expected || there != ok {
					t.Errorf("%s, %s: %s is %q (%v), want %q (%v)", name, form, v, value, there, expected, ok)
				}
			}
		}
	}
}

// A file for the builder is never written through what lies there already.
func TestFilesForBuildersAreNew(t *testing.T) {
	b := prepare(t, nil, nil, nil)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.Symlink(victim, filepath.Join(b.scratch.build, "graph")); err != nil {
		t.Fatal(err)
	}
	if err := b.writeFile("graph", "text"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a symlink was there: %v", err)
	}
	if _, err := os.Lstat(victim); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what it points at: %v", err)
	}
	if err := b.writeFile("new", "text"); err != nil || b.readFile(t, "new") != "text" {
		t.Errorf("a new file: %v", err)
	}
}
