package builtin

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"larder/nar"
	"larder/nar/tree"
)

// realNix is Nix with a store of its own in a temporary directory, and without a sandbox: its builtins see all paths.
type realNix string

func newNix(t *testing.T) realNix {
	t.Helper()
	if _, err := exec.LookPath("nix-build"); err != nil {
		t.Skipf("needs real Nix to compare with (Debian: nix-bin): %v", err)
	}
	dir, err := os.MkdirTemp("", "larder-nix-")
	must(t, err)
	t.Cleanup(func() {
		if err := tree.Remove(context.Background(), dir); err != nil {
			t.Error(err)
		}
	})
	must(t, os.Mkdir(filepath.Join(dir, "etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "etc/nix.conf"), []byte("sandbox = false\nbuild-users-group =\nsubstituters =\n"), 0o644))
	return realNix(dir)
}

// build runs a builtin. Without an output it failed, with the error that said is.
func (dir realNix) build(t *testing.T, builtin string, attributes map[string]string) (output, said string) {
	t.Helper()
	all := map[string]string{"name": "x", "system": "builtin", "builder": Prefix + builtin}
	for name, value := range attributes {
		all[name] = value
	}
	text, err := json.Marshal(all)
	must(t, err)
	file := filepath.Join(string(dir), "attributes.json")
	must(t, os.WriteFile(file, text, 0o644))
	cmd := exec.Command("nix-build", "--no-out-link", "-E", "derivation (builtins.fromJSON (builtins.readFile "+file+"))")
	cmd.Env = append(os.Environ(), "HOME="+string(dir), "NIX_REMOTE=", "NIX_CONF_DIR="+string(dir)+"/etc",
		"NIX_STORE_DIR="+string(dir)+"/store", "NIX_STATE_DIR="+string(dir)+"/var", "NIX_LOG_DIR="+string(dir)+"/log")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		return strings.TrimSpace(string(out)), ""
	}
	for line := range strings.Lines(stderr.String()) {
		if said, ok := strings.CutPrefix(line, "error: "); ok {
			return "", strings.TrimSpace(said)
		}
	}
	t.Fatalf("%v\n%s", err, &stderr)
	return "", ""
}

// archive is the NAR of a tree without times, owners and modes that stores do not keep.
func archive(t *testing.T, path string) []byte {
	t.Helper()
	var b bytes.Buffer
	_, err := nar.Dump(t.Context(), &b, path)
	must(t, err)
	return b.Bytes()
}

func listing(path string) string {
	out, _ := exec.Command("find", path, "-printf", "%P %y %m %l\n").CombinedOutput()
	return string(out)
}

func wantSame(t *testing.T, ours, theirs string) {
	t.Helper()
	if !bytes.Equal(archive(t, ours), archive(t, theirs)) {
		t.Errorf("ours:\n%s\nNix's:\n%s", listing(ours), listing(theirs))
	}
}

// TestNixMakesTheSameProfiles: of the same packages the same tree, or the same error.
func TestNixMakesTheSameProfiles(t *testing.T) {
	nix := newNix(t)
	for _, c := range profiles {
		t.Run(c.name, func(t *testing.T) {
			dir := packages(t, c.files)
			attributes := map[string]string{"derivations": strings.ReplaceAll(c.derivations, "DIR", dir), "manifest": "/the/manifest"}
			theirs, _ := nix.build(t, "buildenv", attributes)
			in := &Input{Out: filepath.Join(t.TempDir(), "out"), Attributes: attributes}
			must(t, BuildEnv(in, io.Discard))
			wantSame(t, in.Out, theirs)
		})
	}
	for _, c := range badProfiles {
		if c.newer {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			dir := packages(t, c.files)
			_, said := nix.build(t, "buildenv", map[string]string{"derivations": strings.ReplaceAll(c.derivations, "DIR", dir), "manifest": "/the/manifest"})
			if said = strings.ReplaceAll(said, dir, "DIR"); !strings.Contains(strings.ToLower(said), c.says) && !strings.Contains(said, c.says) {
				t.Errorf("Nix says %q, ours contains %q", said, c.says)
			}
		})
	}
}

// TestNixUnpacksTheSame: of good archives the same channel.
func TestNixUnpacksTheSame(t *testing.T) {
	nix := newNix(t)
	for name, text := range map[string][]byte{
		"tar": tarOf(t, "xz", entry{"", "from git", tar.TypeXGlobalHeader, 0}, dir("top/"), file("top/default.nix", "{ }"), entry{"top/run", "#!", tar.TypeReg, 0o755},
			link("top/link", "../../outside"), file("top/deep/er/f", "x"), hard("top/hard", "top/default.nix"),
			file("top/twice", "first, and longer"), file("top/twice", "second"), entry{"top/unreadable", "x", tar.TypeReg, 0o200}),
		"one file": tarOf(t, "gzip", file("f", "alone")),
		"absolute": tarOf(t, "none", file("/f", "alone")),
		"replaced": tarOf(t, "none", link("top/f", "../../outside"), file("top/f", "x")),
		"zip": zipOf(t, entry{"top/", "", 0, int64(fs.ModeDir | 0o755)}, file("top/default.nix", "{ }"), entry{"top/run", "#!", tar.TypeReg, 0o755},
			link("top/link", "../../outside")),
	} {
		t.Run(name, func(t *testing.T) {
			src := filepath.Join(t.TempDir(), "src")
			must(t, os.WriteFile(src, text, 0o644))
			attributes := map[string]string{"src": src, "channelName": "channel"}
			theirs, said := nix.build(t, "unpack-channel", attributes)
			if theirs == "" {
				t.Fatalf("Nix does not unpack it: %s", said)
			}
			in := &Input{Out: filepath.Join(t.TempDir(), "out"), Attributes: attributes}
			must(t, UnpackChannel(in, io.Discard))
			wantSame(t, in.Out, theirs)
		})
	}
}
