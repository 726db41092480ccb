package git_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/nar"
	"larder/nar/git"
)

// archive returns the NAR of a tree.
func archive(t *testing.T, path string) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := nar.Dump(t.Context(), &b, path); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func objectID(t *testing.T, path string, newHash func() hash.Hash) string {
	t.Helper()
	id, err := git.ObjectID(bytes.NewReader(archive(t, path)), newHash)
	if err != nil {
		t.Fatal(err)
	}
	onDisk, err := git.ObjectIDAt(t.Context(), unix.AT_FDCWD, path, newHash)
	if err != nil || !bytes.Equal(onDisk, id) {
		t.Errorf("of the file %x, of its NAR %x (%v)", onDisk, id, err)
	}
	return hex.EncodeToString(id)
}

func TestFileThatIsNotThere(t *testing.T) {
	t.Parallel()
	if _, err := git.ObjectIDAt(t.Context(), unix.AT_FDCWD, filepath.Join(t.TempDir(), "none"), sha1.New); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Ids that everybody knows who has looked into git's object database.
func TestKnownIDs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty := filepath.Join(dir, "d")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path    string
		newHash func() hash.Hash
		want    string
	}{
		{file("empty", ""), sha1.New, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"},
		{file("hello", "hello world\n"), sha1.New, "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"},
		{file("empty", ""), sha256.New, "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813"},
		{empty, sha1.New, "4b825dc642cb6eb9a060e54bf8d69288fbee4904"},
		{empty, sha256.New, "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"},
	} {
		if got := objectID(t, c.path, c.newHash); got != c.want {
			t.Errorf("%s: %s, want %s", c.path, got, c.want)
		}
	}
}

// makeTree makes a tree with everything that an id depends on, also an order of names that is not that of a NAR.
func makeTree(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{"a", "a/deep/deeper", "a.d", "z"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"a.b": "1", "a0": "2", "a-": "3", "a/x": "4", "a/deep/y": strings.Repeat("5", 1<<17), "a/deep/deeper/z": "",
		"a.d/ü": "6", "z/z": "7", "zz": "8"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(filepath.Join(dir, "a/x"), 0o755), os.Symlink("a/x", filepath.Join(dir, "link")), os.Symlink("../nowhere", filepath.Join(dir, "a/deep/link"))); err != nil {
		t.Fatal(err)
	}
}

func TestAgainstGit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	for format, newHash := range map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New} {
		t.Run(format, func(t *testing.T) {
			work := filepath.Join(t.TempDir(), "tree")
			makeTree(t, work)
			run := func(args ...string) string {
				cmd := exec.Command("git", args...)
				cmd.Dir = work
				cmd.Env = append(os.Environ(), "GIT_DIR="+work+".git", "GIT_WORK_TREE="+work, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("git %v: %v\n%s", args, err, out)
				}
				return strings.TrimSpace(string(out))
			}
			run("init", "-q", "--object-format="+format)
			run("add", "-A", ".")
			if got, want := objectID(t, work, newHash), run("write-tree"); got != want {
				t.Errorf("%s, git says %s", got, want)
			}
		})
	}
}

func TestBareExecutablesAndSymlinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	exe, link := filepath.Join(dir, "exe"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(exe, nil, 0o755), os.Symlink("x", link)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{exe, link} {
		if id, err := git.ObjectID(bytes.NewReader(archive(t, path)), sha1.New); !errors.Is(err, git.ErrNoObject) || id != nil {
			t.Errorf("%s: %x, %v", path, id, err)
		}
	}
}

func TestBadArchives(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tree")
	makeTree(t, dir)
	good := archive(t, dir)
	for name, b := range map[string][]byte{"cut": good[:len(good)-8], "more": append(bytes.Clone(good), 0), "none": nil} {
		var bad *nar.FormatError
		if _, err := git.ObjectID(bytes.NewReader(b), sha1.New); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
