package nar_test

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"larder/nar"
	"larder/test/fixture"
)

// The fixtures in test/testdata/nars were made by Nix 2.8.0: trees.json describes trees, good/ holds the NARs it made of
// them and good.tsv their hashes, bad/ holds malformed NARs and bad.tsv what Nix said about them.

// tree is a node of trees.json. Names, contents and targets are in base64 there.
type tree struct {
	Type       string
	Executable bool
	Contents   []byte
	Zeros      int64 // before Tail, instead of Contents
	Tail       []byte
	Target     []byte
	Entries    []struct {
		Name []byte
		Node *tree
	}
}

func (n *tree) size() int64 { return int64(len(n.Contents)) + n.Zeros + int64(len(n.Tail)) }

// build makes the tree on disk, with nothing of package nar.
func (n *tree) build(t testing.TB, path string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	switch n.Type {
	case "regular":
		mode := os.FileMode(0o644)
		if n.Executable {
			mode = 0o755
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		must(err)
		_, err = f.Write(n.Contents)
		must(err)
		if n.Zeros > 0 {
			must(f.Truncate(n.Zeros))
			_, err = f.WriteAt(n.Tail, n.Zeros)
			must(err)
		}
		must(f.Close())
	case "symlink":
		must(os.Symlink(string(n.Target), path))
	case "directory":
		must(os.Mkdir(path, 0o755))
		for _, e := range n.Entries {
			e.Node.build(t, path+"/"+string(e.Name))
		}
	default:
		t.Fatalf("trees.json: type %q", n.Type)
	}
}

// Trees of trees.json without a file in good/.
const (
	big1MiB    = "big-1mib"
	sparse4GiB = "sparse-4gib-plus-3"
)

func loadTrees(t testing.TB) map[string]*tree {
	t.Helper()
	var trees map[string]*tree
	if err := json.Unmarshal(fixture.Read(t, "nars/trees.json"), &trees); err != nil {
		t.Fatal(err)
	}
	if len(trees) != 34 {
		t.Fatalf("%d trees, want 34", len(trees))
	}
	return trees
}

// loadNARs returns the archives of a fixture folder by name.
func loadNARs(t testing.TB, folder string, count int) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(fixture.Path(t, "nars"), folder, "*.nar"))
	if err != nil || len(paths) != count {
		t.Fatalf("%d archives in %s, want %d (%v)", len(paths), folder, count, err)
	}
	nars := map[string][]byte{}
	for _, path := range paths {
		nars[strings.TrimSuffix(filepath.Base(path), ".nar")] = fixture.Read(t, path)
	}
	return nars
}

// loadGood returns the archive that Nix made of a tree.
func loadGood(t testing.TB, name string) []byte {
	t.Helper()
	return fixture.Read(t, "nars/good/"+name+".nar")
}

// loadTable returns the rows of a .tsv by their first column.
func loadTable(t testing.TB, name string) map[string][]string {
	t.Helper()
	rows := map[string][]string{}
	for _, row := range fixture.TSV(t, "nars/"+name) {
		rows[row[0]] = row
	}
	return rows
}

// hasher checks an archive against its row of good.tsv.
type hasher struct {
	size   int64
	hashes map[int]hash.Hash // by column
}

func newHasher() *hasher {
	return &hasher{hashes: map[int]hash.Hash{2: md5.New(), 5: sha1.New(), 8: sha256.New(), 11: sha512.New()}}
}

func (h *hasher) Write(p []byte) (int, error) {
	for _, sum := range h.hashes {
		sum.Write(p)
	}
	h.size += int64(len(p))
	return len(p), nil
}

func (h *hasher) check(t *testing.T, row []string) {
	t.Helper()
	if size := strconv.FormatInt(h.size, 10); size != row[1] {
		t.Errorf("size %s, Nix got %s", size, row[1])
	}
	for column, sum := range h.hashes {
		if got := hex.EncodeToString(sum.Sum(nil)); got != row[column] {
			t.Errorf("hash %s, Nix got %s", got, row[column])
		}
	}
}

// recode reads an archive to its end, writes it again entry by entry, and returns that.
func recode(w io.Writer, r io.Reader) error {
	reader, writer := nar.NewReader(r), nar.NewWriter(w)
	for {
		e, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := writer.WriteEntry(e); err != nil {
			return err
		}
		if _, err := io.Copy(writer, reader); err != nil {
			return err
		}
	}
	if err := reader.ExpectEOF(); err != nil {
		return err
	}
	return writer.Close()
}
