package realiser_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/realiser"
	"larder/realiser/builder"
	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
)

// treeText is what a directory holds, with modes, times and attributes.
func treeText(t *testing.T, root string) string {
	t.Helper()
	var text strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(d.Name(), ".larder-tmp-") {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := ""
		switch info.Mode().Type() {
		case 0:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what = string(content)
		case fs.ModeSymlink:
			what, _ = os.Readlink(path)
		}
		attributes := make([]byte, 4096)
		n, err := unix.Llistxattr(path, attributes)
		if err != nil {
			return err
		}
		if path != root { // its time changes with every new object
			fmt.Fprintf(&text, "%s %s %d %q %q\n", path, info.Mode(), info.ModTime().UnixNano(), what, attributes[:n])
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return text.String()
}

// difference is the lines that only one of the texts has.
func difference(before, after string) (lost, found string) {
	for line := range strings.Lines(before) {
		if !strings.Contains(after, line) {
			lost += line
		}
	}
	for line := range strings.Lines(after) {
		if !strings.Contains(before, line) {
			found += line
		}
	}
	return lost, found
}

// TestHostileOutputs: what a builder leaves is refused, or is an object like any other; nothing happens to other objects, nor to what
// links lead to. In a sandbox and without.
func TestHostileOutputs(t *testing.T) {
	t.Parallel()
	everyIdentity(t, func(t *testing.T, users func(*realiser.Options)) {
		for _, m := range []builder.SandboxMode{builder.SandboxAlways, builder.SandboxNever} {
			l := newLookout(t)
			r := l.realiser(users, mode(m))
			victim := l.file("victim/file", "untouched", 0o644)
			inputDrv, input := l.script("mkdir $out; echo input > $out/file; echo 2 > $out/exec; chmod +x $out/exec", nil)
			if res := realise(t, r, inputDrv); res.Err != nil {
				t.Fatal(res.Err)
			}
			dep := l.s.Dir().Join(input)
			outside := treeText(t, filepath.Dir(victim))
			for _, c := range []struct {
				name, script string
				refused      string // in the message; "": it is built, and what becomes of it is got
				got          string
			}{
				{"symlink to a file of the host", "ln -s " + victim + " $out", "", "Lrwxrwxrwx"},
				{"symlinks in a directory", "mkdir $out; ln -s " + victim + " $out/f; ln -s " + filepath.Dir(victim) + " $out/d; ln -s ../../../.. $out/u", "", "dr-xr-xr-x"},
				{"directory swapped for a symlink", "mkdir $out; echo > $out/x; rm -r $out; ln -s " + dep + " $out", "", "Lrwxrwxrwx"},
				{"pipe", "mkfifo $out", "neither a regular file nor a directory nor a symlink", ""},
				{"pipe in a directory", "mkdir -p $out/a; mkfifo $out/a/p", "/a/p': it is neither a regular file nor a directory nor a symlink", ""},
				{"writable for all", "echo > $out; chmod 666 $out", "suspicious ownership or permission", ""},
				{"writable for the group", "mkdir $out; chmod 775 $out", "suspicious ownership or permission", ""},
				{"nothing", "true", "failed to produce output path", ""},
				{"made and removed", "mkdir $out; rmdir $out", "failed to produce output path", ""},
				{"modes that keep its owner out", "mkdir -p $out/d; echo > $out/f; chmod 0 $out/f $out/d; chmod 0 $out", "", "dr-xr-xr-x"},
				{"writable inside", "mkdir -p $out/d; echo > $out/f; chmod 777 $out/f $out/d", "", "dr-xr-xr-x"},
				{"setuid", "echo > $out; chmod 4755 $out", "exit code 1", ""},
				{"device", "mknod $out c 1 3", "exit code 1", ""},
				{"link to an input, or a copy", "ln " + dep + "/file $out 2> /dev/null || cp " + dep + "/file $out; chmod 755 $out", "", "-r-xr-xr-x"},
				{"write inputs", "for f in " + dep + "/file " + dep + "; do chmod 777 $f || true; (echo evil > $f) || true; done 2> /dev/null; echo > $out", "", "-r--r--r--"},
				{"remove everything", "rm -rf $NIX_STORE/* 2> /dev/null || true; echo > $out", "", "-r--r--r--"},
				{"replace an input", "for c in 'rm -rf " + dep + "' 'mv " + dep + " $NIX_STORE/x' 'mkdir " + dep + "'; do eval \"$c\" || true; done 2> /dev/null; echo > $out", "", "-r--r--r--"},
				{"another's path", "echo > $NIX_STORE/" + strings.Repeat("0", 32) + "-other; echo > $out", "", "-r--r--r--"},
				{"a closed store", "echo > $out; chmod 0 $NIX_STORE 2> /dev/null || true", "", "-r--r--r--"},
			} {
				drv, out := l.script(c.script, func(d *derivation.Derivation) { d.InputDrvs = map[store.StorePath][]string{inputDrv: {"out"}} })
				before := treeText(t, l.s.ObjectDir())
				res := realise(t, r, drv)
				object := l.s.ObjectPath(out)
				switch {
				case c.refused != "" && (res.Err == nil || !strings.Contains(res.Err.Error(), c.refused)):
					t.Errorf("sandbox mode %d, %s: %v, want %q", m, c.name, res.Err, c.refused)
				case c.refused != "" && strings.Contains(res.Err.Error(), ".larder-tmp"):
					t.Errorf("sandbox mode %d, %s: %v names a temporary file", m, c.name, res.Err)
				case c.refused == "" && res.Err != nil:
					var e *result.BuildError
					errors.As(res.Err, &e)
					t.Errorf("sandbox mode %d, %s: %v\n%s", m, c.name, res.Err, strings.Join(e.LastLines, "\n"))
				case c.refused == "":
					if st, err := os.Lstat(object); err != nil || !strings.HasPrefix(st.Mode().String(), c.got) {
						t.Errorf("sandbox mode %d, %s: %v %v, want %s", m, c.name, st.Mode(), err, c.got)
					}
					if text := treeText(t, l.s.ObjectDir()); strings.Contains(text, "overlay") {
						t.Errorf("sandbox mode %d, %s: attributes are left:\n%s", m, c.name, text)
					}
				}
				var after strings.Builder
				for line := range strings.Lines(treeText(t, l.s.ObjectDir())) {
					if path, _, _ := strings.Cut(line, " "); path != object && !strings.HasPrefix(path, object+"/") {
						after.WriteString(line)
					}
				}
				if lost, found := difference(before, after.String()); lost+found != "" {
					t.Errorf("sandbox mode %d, %s: the objects were\n%sand are\n%s", m, c.name, lost, found)
				}
			}
			if lost, found := difference(outside, treeText(t, filepath.Dir(victim))); lost+found != "" {
				t.Errorf("what links lead to was\n%sand is\n%s", lost, found)
			}
		}
	})
}
