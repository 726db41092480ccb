package nar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"larder/nar"
	"larder/test/fixture"
)

// nixListing is a cache of plain.tar.zst that Nix wrote with listings and without compression.
const nixListing = "plain/listing"

// nixListings returns for each .ls file of that cache its text and the archive it lists.
func nixListings(t testing.TB) map[string][2][]byte {
	t.Helper()
	files := fixture.Open(t, "caches/plain.tar.zst")
	found := map[string][2][]byte{}
	for path, file := range files {
		hash, ok := strings.CutSuffix(path, ".ls")
		if !ok || filepath.Dir(path) != nixListing {
			continue
		}
		_, url, _ := strings.Cut(string(files[hash+".narinfo"].Data), "URL: ")
		url, _, _ = strings.Cut(url, "\n")
		found[filepath.Base(hash)] = [2][]byte{file.Data, files[nixListing+"/"+url].Data}
	}
	if len(found) != 3 {
		t.Fatalf("%d listings, want 3", len(found))
	}
	return found
}

func TestListingIsNixs(t *testing.T) {
	for hash, pair := range nixListings(t) {
		text, archive := pair[0], pair[1]
		read, err := nar.ReadListing(bytes.NewReader(archive))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := nar.ParseListing(text)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(read.Root, parsed.Root) {
			t.Errorf("%s: Nix's listing is another than ours", hash)
		}
		for _, l := range []*nar.Listing{read, parsed} {
			if got, err := l.MarshalJSON(); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s:\n%s\nNix wrote\n%s", hash, got, text)
			}
		}
	}
}

// Listings made in every way agree, and their offsets are where the contents are.
func TestListingsAgree(t *testing.T) {
	trees := loadTrees(t)
	for name, archive := range loadNARs(t, "good", 32) {
		t.Run(name, func(t *testing.T) {
			read, err := nar.ReadListing(bytes.NewReader(archive))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "tree")
			trees[name].build(t, path)
			walked, err := nar.ListTree(context.Background(), path)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(read.Root, walked.Root) {
				t.Error("ListTree differs")
			}
			var dumped nar.Listing
			if _, err := (&nar.Dumper{OnEntry: dumped.Add}).Dump(context.Background(), io.Discard, path); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(read.Root, dumped.Root) {
				t.Error("listing while dumping differs")
			}
			var restored nar.Listing
			opt := nar.RestoreOptions{OnEntry: restored.Add}
			if _, err := nar.Restore(context.Background(), bytes.NewReader(archive), path+"2", opt); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(read.Root, restored.Root) {
				t.Error("listing while restoring differs")
			}
			text, err := read.MarshalJSON()
			if name == "names-high-bytes" || name == "symlink-odd-bytes" {
				if err == nil {
					t.Error("a name that is not UTF-8 became JSON")
				}
			} else if parsed, err2 := nar.ParseListing(text); err != nil || err2 != nil || !reflect.DeepEqual(read.Root, parsed.Root) {
				t.Error("JSON does not round trip", err, err2)
			}
			compare(t, read, "", trees[name], archive)
		})
	}
}

// compare checks what Lookup says of a tree that lies at path.
func compare(t *testing.T, l *nar.Listing, path string, want *tree, archive []byte) {
	t.Helper()
	node, ok := l.Lookup(path)
	if !ok {
		t.Fatalf("no %q", path)
	}
	if node.Type.String() != want.Type || node.Executable != want.Executable || node.Target != string(want.Target) || node.Size != want.size() {
		t.Errorf("%q: %+v", path, node)
	}
	if node.Type == nar.Regular && !bytes.Equal(archive[node.Offset:node.Offset+node.Size], want.Contents) {
		t.Errorf("%q: the contents are not at offset %d", path, node.Offset)
	}
	if len(node.Entries) != len(want.Entries) {
		t.Errorf("%q: %d entries, want %d", path, len(node.Entries), len(want.Entries))
	}
	for _, e := range want.Entries {
		compare(t, l, strings.TrimPrefix(path+"/"+string(e.Name), "/"), e.Node, archive)
	}
}

func TestLookupOfNothing(t *testing.T) {
	l, err := nar.ReadListing(bytes.NewReader(loadGood(t, "mixed")))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "bin/", "/bin", "bin//tool", "bin/tool/x", "bin/link/x", ".", "bin/..", "none", "bin/tool\x00"} {
		if node, ok := l.Lookup(path); ok {
			t.Errorf("%q: %+v", path, node)
		}
	}
	if _, ok := new(nar.Listing).Lookup(""); ok {
		t.Error("an empty listing has a root")
	}
}

func TestListingAddOrder(t *testing.T) {
	dir := func(path string) *nar.Entry { return &nar.Entry{Path: path, Type: nar.Directory} }
	file := func(path string) *nar.Entry { return &nar.Entry{Path: path, Type: nar.Regular} }
	for _, c := range [][]*nar.Entry{
		{file("a")},
		{dir(""), dir("")},
		{file(""), file("a")},
		{dir(""), file("b"), file("a")},
		{dir(""), file("a"), file("a")},
		{dir(""), file("a"), file("a/b")},
		{dir(""), file("a/b")},
		{dir(""), dir("a"), dir("b"), file("a/c")},
		{dir(""), dir("a"), file("b/c")},
		{dir(""), file("..")},
		{dir(""), file("/a")},
		{dir(""), dir("a"), file("a/")},
	} {
		var l nar.Listing
		for i, e := range c {
			if err := l.Add(e); (err != nil) != (i == len(c)-1) {
				t.Errorf("%v, entry %d: %v", c, i, err)
			}
		}
	}
}

func TestParseListing(t *testing.T) {
	file := `{"type":"regular","size":3}`
	good := map[string]string{
		"unknown fields": `{"version":1,"more":[{"x":[]},2],"root":{"type":"regular","size":3,"x":{"y":null}}}`,
		"another order":  `{"root":{"narOffset":96,"executable":false,"size":3,"type":"regular"},"version":1}`,
		"unsorted":       `{"version":1,"root":{"entries":{"b":` + file + `,"a":` + file + `},"type":"directory"}}`,
		"white space":    " {\n\t\"version\" : 1, \"root\": " + file + " } \n",
	}
	for name, text := range good {
		l, err := nar.ParseListing([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !slices.IsSortedFunc(l.Root.Entries, func(a, b *nar.ListingNode) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%s: not sorted", name)
		}
	}
	node := func(s string) string { return `{"version":1,"root":` + s + `}` }
	entry := func(name string) string { return node(`{"type":"directory","entries":{"` + name + `":` + file + `}}`) }
	bad := map[string]string{
		"nothing":           "",
		"not JSON":          "hello",
		"not an object":     "[]",
		"truncated":         node(file)[:40],
		"trailing":          node(file) + "{}",
		"no version":        `{"root":` + file + `}`,
		"other version":     `{"version":2,"root":` + file + `}`,
		"version as string": `{"version":"1","root":` + file + `}`,
		"no root":           `{"version":1}`,
		"null root":         node("null"),
		"two roots":         `{"version":1,"root":` + file + `,"root":` + file + `}`,
		"no type":           node(`{"size":3}`),
		"unknown type":      node(`{"type":"fifo"}`),
		"no size":           node(`{"type":"regular"}`),
		"negative size":     node(`{"type":"regular","size":-1}`),
		"fractional size":   node(`{"type":"regular","size":1.5}`),
		"huge size":         node(`{"type":"regular","size":9223372036854775808}`),
		"size as string":    node(`{"type":"regular","size":"3"}`),
		"negative offset":   node(`{"type":"regular","size":3,"narOffset":-1}`),
		"two sizes":         node(`{"type":"regular","size":3,"size":3}`),
		"file with target":  node(`{"type":"regular","size":3,"target":"x"}`),
		"executable word":   node(`{"type":"regular","size":3,"executable":"yes"}`),
		"no target":         node(`{"type":"symlink"}`),
		"empty target":      node(`{"type":"symlink","target":""}`),
		"NUL in target":     node(`{"type":"symlink","target":"a\u0000"}`),
		"no entries":        node(`{"type":"directory"}`),
		"entries as list":   node(`{"type":"directory","entries":[]}`),
		"directory size":    node(`{"type":"directory","entries":{},"size":3}`),
		"twice the name":    node(`{"type":"directory","entries":{"a":` + file + `,"a":` + file + `}}`),
		"empty name":        entry(""),
		"dot":               entry("."),
		"dot dot":           entry(".."),
		"slash":             entry("a/b"),
		"NUL":               entry(`a\u0000`),
		"long name":         entry(strings.Repeat("n", nar.MaxName+1)),
		"not UTF-8":         entry("\xff"),
		"too deep":          node(strings.Repeat(`{"type":"directory","entries":{"d":`, nar.MaxDepth+1) + file + strings.Repeat("}}", nar.MaxDepth+1)),
		"many fields":       node(`{"type":"regular","size":3` + manyFields(1000) + `}`),
	}
	for name, text := range bad {
		if _, err := nar.ParseListing([]byte(text)); !errors.Is(err, nar.ErrListing) {
			t.Errorf("%s: %v", name, err)
		}
	}
	deep := node(strings.Repeat(`{"type":"directory","entries":{"d":`, nar.MaxDepth) + file + strings.Repeat("}}", nar.MaxDepth))
	if _, err := nar.ParseListing([]byte(deep)); err != nil {
		t.Errorf("as deep as an archive can be: %v", err)
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`,"x` + strings.Repeat("y", i) + `":0`)
	}
	return b.String()
}

func FuzzListing(f *testing.F) {
	for _, pair := range nixListings(f) {
		f.Add(pair[0])
	}
	f.Add([]byte(`{"version":1,"root":{"type":"directory","entries":{"b":{"type":"symlink","target":"\"\\\n"},"a":{"type":"directory","entries":{}}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := nar.ParseListing(text)
		if err != nil {
			if !errors.Is(err, nar.ErrListing) {
				t.Fatal(err)
			}
			return
		}
		printed, err := l.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(printed) {
			t.Fatalf("not JSON: %s", printed)
		}
		again, err := nar.ParseListing(printed)
		if err != nil || !reflect.DeepEqual(again.Root, l.Root) {
			t.Fatalf("%s\nbecame\n%s\n%v", text, printed, err)
		}
	})
}
