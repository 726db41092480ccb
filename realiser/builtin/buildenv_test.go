package builtin

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// packages makes trees below a fresh directory: "name/path" to contents, "-> target" for a symlink.
func packages(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			must(t, os.Symlink(strings.ReplaceAll(target, "DIR", dir), path))
		} else {
			must(t, os.WriteFile(path, []byte(strings.ReplaceAll(content, "DIR", dir)), 0o644))
		}
	}
	return dir
}

// buildEnv makes a profile of packages below dir and lists it, with dir left out.
func buildEnv(t *testing.T, dir, derivations string) (list, log string, err error) {
	t.Helper()
	in := &Input{Out: filepath.Join(t.TempDir(), "out"), Attributes: map[string]string{
		"derivations": strings.ReplaceAll(derivations, "DIR", dir), "manifest": "/the/manifest",
	}}
	var b bytes.Buffer
	if err := BuildEnv(in, &b); err != nil {
		return "", b.String(), err
	}
	var lines []string
	must(t, filepath.WalkDir(in.Out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == in.Out {
			return err
		}
		name := path[len(in.Out)+1:]
		switch d.Type() {
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			lines = append(lines, name+" -> "+strings.ReplaceAll(target, dir, "DIR"))
			return err
		case fs.ModeDir:
			lines = append(lines, name+"/")
		default:
			lines = append(lines, name+" is "+d.Type().String())
		}
		return nil
	}))
	return strings.Join(lines, "\n"), strings.ReplaceAll(b.String(), in.Out, "OUT"), nil
}

var profiles = []struct {
	name        string
	files       map[string]string
	derivations string
	want        string
}{
	{"one", map[string]string{"a/bin/x": "", "a/file": ""}, "true 5 1 DIR/a", "bin -> DIR/a/bin\nfile -> DIR/a/file"},
	{"directories are merged where they must", map[string]string{"a/bin/x": "", "a/lib/l/1": "", "b/bin/y": "", "b/lib/l/2": "", "b/lib/m/3": ""},
		"true 5 1 DIR/a true 5 1 DIR/b",
		"bin/\nbin/x -> DIR/a/bin/x\nbin/y -> DIR/b/bin/y\nlib/\nlib/l/\nlib/l/1 -> DIR/a/lib/l/1\nlib/l/2 -> DIR/b/lib/l/2\nlib/m -> DIR/b/lib/m"},
	{"three", map[string]string{"a/bin/x": "", "b/bin/y": "", "c/bin/z": ""}, "true 5 3 DIR/c DIR/a DIR/b",
		"bin/\nbin/x -> DIR/a/bin/x\nbin/y -> DIR/b/bin/y\nbin/z -> DIR/c/bin/z"},
	{"the lower number wins", map[string]string{"a/bin/x": "", "b/bin/x": ""}, "true 5 1 DIR/a true 4 1 DIR/b", "bin/\nbin/x -> DIR/b/bin/x"},
	{"in whatever order", map[string]string{"a/bin/x": "", "b/bin/x": ""}, "true -1 1 DIR/a true 4 1 DIR/b", "bin/\nbin/x -> DIR/a/bin/x"},
	{"inactive", map[string]string{"a/bin/x": "", "b/bin/x": ""}, "true 5 1 DIR/a false 5 1 DIR/b", "bin -> DIR/a/bin"},
	{"twice the same", map[string]string{"a/bin/x": ""}, "true 5 2 DIR/a DIR/a", "bin -> DIR/a/bin"},
	{"no outputs", nil, "true 5 0", ""},
	{"not for profiles", map[string]string{"a/.hidden": "", "a/log": "", "a/manifest.nix": "", "a/manifest.json": "", "a/nix-support/x": "",
		"a/propagated-build-inputs": "", "a/share/info/dir": "", "a/share/info/x.info": "", "a/lib/perllocal.pod": "", "b/share/info/dir": "", "b/share/info/y.info": "", "b/lib/catalog": ""},
		"true 5 2 DIR/a DIR/b",
		"lib/\nlib/catalog -> DIR/b/lib/catalog\nshare/\nshare/info/\nshare/info/x.info -> DIR/a/share/info/x.info\nshare/info/y.info -> DIR/b/share/info/y.info"},
	{"symlinks are not resolved", map[string]string{"a/f": "", "a/share/f": "-> ../f", "a/bin": "-> share"}, "true 5 1 DIR/a",
		"bin -> DIR/a/bin\nf -> DIR/a/f\nshare -> DIR/a/share"},
	{"but directories behind them are, to be merged", map[string]string{"a/real/f": "", "a/bin": "-> real", "b/bin/g": ""}, "true 5 2 DIR/a DIR/b",
		"bin/\nbin/f -> DIR/a/real/f\nbin/g -> DIR/b/bin/g\nreal -> DIR/a/real"},
	{"propagated", map[string]string{
		"a/bin/x": "", "a/nix-support/propagated-user-env-packages": "DIR/b DIR/c\n",
		"b/bin/x": "", "b/bin/y": "", "b/nix-support/propagated-user-env-packages": "DIR/a DIR/d",
		"c/bin/y": "", "d/bin/y": "", "d/bin/z": "",
	}, "true 5 1 DIR/a", "bin/\nbin/x -> DIR/a/bin/x\nbin/y -> DIR/b/bin/y\nbin/z -> DIR/d/bin/z"},
}

func TestBuildEnv(t *testing.T) {
	for _, c := range profiles {
		t.Run(c.name, func(t *testing.T) {
			got, log, err := buildEnv(t, packages(t, c.files), c.derivations)
			if err != nil {
				t.Fatal(err)
			}
			lines := append(strings.Fields("manifest.nix->/the/manifest"), strings.Split(c.want, "\n")...)
			lines[0] = "manifest.nix -> /the/manifest"
			slices.Sort(lines)
			sorted := strings.Split(got, "\n")
			slices.Sort(sorted)
			if want := strings.TrimSpace(strings.Join(slices.DeleteFunc(lines, func(l string) bool { return l == "" }), "\n")); strings.Join(sorted, "\n") != want || log != "" {
				t.Errorf("got\n%s\nwant\n%s\nlog %q", strings.Join(sorted, "\n"), want, log)
			}
		})
	}
}

func TestBuildEnvWarnings(t *testing.T) {
	dir := packages(t, map[string]string{"a/bin/x": "", "a/gone": "-> /absent/file", "file": ""})
	got, log, err := buildEnv(t, dir, "true 5 2 DIR/a DIR/file")
	if err != nil {
		t.Fatal(err)
	}
	if want := "bin -> DIR/a/bin\nmanifest.nix -> /the/manifest"; got != want {
		t.Errorf("got\n%s", got)
	}
	want := "warning: skipping dangling symlink 'OUT/gone'\n" +
		fmt.Sprintf("warning: not including '%s/file' in the user environment because it's not a directory\n", dir)
	if log != want {
		t.Errorf("the log is\n%s\nwant\n%s", log, want)
	}
}

var badProfiles = []struct {
	name        string
	files       map[string]string
	derivations string
	says        string
	newer       bool // Nix 2.8 crashes, or says nothing
}{
	{"same file", map[string]string{"a/bin/x": "", "b/bin/x": ""}, "true 5 2 DIR/a DIR/b",
		"packages 'DIR/b/bin/x' and 'DIR/a/bin/x' have the same priority 5; use 'nix-env --set-flag priority NUMBER INSTALLED_PKGNAME'", false},
	{"a file and a directory", map[string]string{"a/x": "", "b/x/y": ""}, "true 5 2 DIR/a DIR/b", "collision between 'DIR/b/x' and non-directory 'DIR/a/x'", false},
	{"a directory of two and a file", map[string]string{"a/x/1": "", "b/x/2": "", "c/x": ""}, "true 5 3 DIR/a DIR/b DIR/c",
		"collision between non-directory 'DIR/c/x' and directory", false},
	{"absent package", nil, "true 5 1 DIR/a", "no such file or directory", false},
	{"symlinks in a circle", map[string]string{"a/share/self": "-> .", "b/share/self": "-> ."}, "true 5 2 DIR/a DIR/b", "too many levels of symbolic links", false},
	{"cut off", nil, "true 5", "attribute 'derivations' is malformed: it ends in the middle of a package", true},
	{"no priority", nil, "true high 1 DIR/a", "'high' is not a priority", true},
	{"no number", nil, "true 5 -1 DIR/a", "'-1' is not a number of outputs", true},
	{"too few", nil, "true 5 9 DIR/a", "9 outputs are announced, 1 words follow", true},
	{"long list", map[string]string{"a/nix-support/propagated-user-env-packages": strings.Repeat("/x ", 1<<19)}, "true 5 1 DIR/a", "is longer than", true},
}

func TestBuildEnvFailures(t *testing.T) {
	for _, c := range badProfiles {
		t.Run(c.name, func(t *testing.T) {
			dir := packages(t, c.files)
			_, _, err := buildEnv(t, dir, c.derivations)
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), dir, "DIR"), c.says) {
				t.Errorf("got %v, want …%s…", err, c.says)
			}
		})
	}
	for _, missing := range []string{"derivations", "manifest"} {
		in := &Input{Out: filepath.Join(t.TempDir(), "out"), Attributes: map[string]string{"derivations": "", "manifest": ""}}
		delete(in.Attributes, missing)
		if err := BuildEnv(in, &bytes.Buffer{}); err == nil || err.Error() != "attribute '"+missing+"' missing" {
			t.Errorf("%v", err)
		}
	}
}

func FuzzPackages(f *testing.F) {
	for _, seed := range []string{"", "true 5 1 /a", "false 0 2 /a /b true -3 0", "true 5 99999999999999999999 /a", "true\x005 1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parsePackages(text)
		if err != nil {
			return
		}
		// What was read says the same when it is written again.
		var again strings.Builder
		for _, p := range list {
			fmt.Fprintf(&again, "%t %d 1 %s ", p.active, p.priority, p.path)
		}
		if back, err := parsePackages(again.String()); err != nil || !slices.Equal(back, list) {
			t.Errorf("%q becomes %v, %v", again.String(), back, err)
		}
	})
}
