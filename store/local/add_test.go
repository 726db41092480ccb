package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"larder/nar"
	"larder/store"
	"larder/store/derivation"
	"larder/store/local"
	golden "larder/test/fixture"
)

// TestAddNixsDerivations adds every derivation and source of the golden data and compares what we know about them with what
// real Nix said.
func TestAddNixsDerivations(t *testing.T) {
	t.Parallel()
	f := newFixture(t, quiet)
	ctx := context.Background()
	tree := golden.Unpack(t, "derivations/drvs.tar.zst")
	type row struct {
		path    store.StorePath
		narHash store.Hash
		narSize uint64
		ca      store.ContentAddress
		refs    []store.StorePath
	}
	rows := map[store.StorePath]row{}
	for _, cells := range golden.TSV(t, "derivations/drvs.tsv") {
		var r row
		var err error
		r.path, err = store.DefaultDir.Parse(cells[0])
		check(t, err)
		r.narHash, err = store.ParseHash(cells[1], store.SHA256)
		check(t, err)
		r.narSize, err = strconv.ParseUint(cells[2], 10, 64)
		check(t, err)
		r.ca, err = store.ParseContentAddress(cells[3])
		check(t, err)
		for _, ref := range strings.Fields(cells[4]) {
			p, err := store.DefaultDir.Parse(ref)
			check(t, err)
			r.refs = append(r.refs, p)
		}
		rows[r.path] = r
	}
	var add func(r row)
	add = func(r row) {
		for _, ref := range r.refs {
			if v, err := f.Valid(ctx, []store.StorePath{ref}); err == nil && !v[0] && ref != r.path {
				add(rows[ref])
			}
		}
		file := filepath.Join(tree, r.path.String())
		var got store.StorePath
		var err error
		switch {
		case r.path.IsDerivation():
			text, failed := os.ReadFile(file)
			check(t, failed)
			drv, failed := derivation.Parse(store.DefaultDir, strings.TrimSuffix(r.path.Name(), ".drv"), text)
			check(t, failed)
			got, err = f.AddDerivation(ctx, drv)
		case r.ca.Method == store.Text:
			text, failed := os.ReadFile(file)
			check(t, failed)
			got, err = f.AddText(ctx, r.path.Name(), text, r.refs)
		case r.ca.IsZero():
			var archive bytes.Buffer
			_, failed := nar.Dump(ctx, &archive, file)
			check(t, failed)
			got = r.path
			err = f.AddNAR(ctx, &store.PathInfo{Path: r.path, NarHash: r.narHash, NarSize: r.narSize, References: r.refs}, &archive)
		default:
			got, err = f.AddTree(ctx, r.path.Name(), file, r.ca.Method, r.ca.Hash.Algo(), store.References{Others: r.refs})
		}
		if err != nil || got != r.path {
			t.Fatalf("adding %s: got %s, %v", r.path, got, err)
		}
		info, err := f.PathInfo(ctx, got)
		check(t, err)
		if info.NarHash != r.narHash || info.NarSize != r.narSize || info.CA != r.ca || len(info.References) != len(r.refs) {
			t.Errorf("%s: got %+v, Nix says %+v", got, info, r)
		}
	}
	for _, r := range rows {
		add(r)
	}
	for _, cells := range golden.TSV(t, "derivations/outputs.tsv") {
		if len(cells) < 5 || cells[4] == "" || cells[2] == "" {
			continue
		}
		drv, err := store.DefaultDir.Parse(cells[2])
		check(t, err)
		out, err := store.DefaultDir.Parse(cells[4])
		if _, known := rows[drv]; !known || err != nil {
			continue
		}
		outputs, err := f.Outputs(ctx, drv)
		check(t, err)
		if outputs[cells[3]] != out {
			continue // content-addressed: known after the build
		}
		derivers, err := f.ValidDerivers(ctx, out)
		check(t, err)
		found := false
		for _, d := range derivers {
			found = found || d == drv
		}
		if !found {
			t.Errorf("%s is not among the derivers of %s", drv, out)
		}
	}
}

func TestAddNAR(t *testing.T) {
	t.Parallel()
	f := newFixture(t, quiet)
	ctx := context.Background()
	files, err := os.ReadDir(golden.Path(t, "nars/good"))
	check(t, err)
	for _, file := range files {
		archive := golden.Read(t, "nars/good/"+file.Name())
		info := &store.PathInfo{Path: path(file.Name()), NarHash: store.SHA256.Sum(archive), NarSize: uint64(len(archive))}
		check(t, f.AddNAR(ctx, info, bytes.NewReader(archive)))
		var back bytes.Buffer
		check(t, f.DumpNAR(ctx, &back, info.Path))
		if !bytes.Equal(back.Bytes(), archive) {
			t.Errorf("%s comes back different", file.Name())
		}
	}
}

func TestAddNARRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, quiet)
	ctx := context.Background()
	archive := golden.Read(t, "nars/good/dir-one.nar")
	info := store.PathInfo{Path: path("x"), NarHash: store.SHA256.Sum(archive), NarSize: uint64(len(archive))}
	other := info
	other.NarHash = store.SHA256.Sum(nil)
	if err := f.AddNAR(ctx, &other, bytes.NewReader(archive)); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("wrong hash: %v", err)
	}
	other = info
	other.NarSize += 8
	if err := f.AddNAR(ctx, &other, bytes.NewReader(archive)); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("wrong size: %v", err)
	}
	other.NarSize = info.NarSize - 8
	var format *nar.FormatError
	if err := f.AddNAR(ctx, &other, bytes.NewReader(archive)); !errors.As(err, &format) {
		t.Errorf("too small a size: %v", err)
	}
	if err := f.AddNAR(ctx, &info, bytes.NewReader(append(bytes.Clone(archive), 0))); !errors.As(err, &format) {
		t.Errorf("trailing bytes: %v", err)
	}
	f.checkWhole()
}

func TestAddTree(t *testing.T) {
	t.Parallel()
	f := newFixture(t, quiet)
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "tree")
	check(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "sub", "file"), bytes.Repeat([]byte("x"), 1<<20), 0o600))
	var archive bytes.Buffer
	_, err := nar.Dump(ctx, &archive, dir)
	check(t, err)
	for _, algo := range []store.HashAlgo{store.MD5, store.SHA1, store.SHA256, store.SHA512} {
		p, err := f.AddTree(ctx, "tree", dir, store.Recursive, algo, store.References{})
		check(t, err)
		want, err := store.DefaultDir.ContentPath("tree", store.ContentAddress{Method: store.Recursive, Hash: algo.Sum(archive.Bytes())}, store.References{})
		check(t, err)
		if p != want {
			t.Errorf("%s: got %s, expected %s", algo, p, want)
		}
		info, err := f.PathInfo(ctx, p)
		check(t, err)
		if info.NarHash != store.SHA256.Sum(archive.Bytes()) || !info.ContentAddressed(store.DefaultDir) {
			t.Errorf("%s: wrong info %+v", algo, info)
		}
	}
	if _, err := f.AddTree(ctx, "tree", dir, store.Flat, store.SHA256, store.References{}); err == nil {
		t.Error("a directory was added flat")
	}
	if _, err := f.AddTree(ctx, "tree", dir+"-absent", store.Recursive, store.SHA256, store.References{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
	p, err := f.AddTree(ctx, "flat", filepath.Join(dir, "sub", "file"), store.Flat, store.SHA1, store.References{})
	check(t, err)
	if text, err := f.ReadFile(ctx, p, 1<<20); err != nil || len(text) != 1<<20 {
		t.Errorf("read %d bytes, %v", len(text), err)
	}
	if _, err := f.ReadFile(ctx, p, 1<<20-1); err == nil {
		t.Error("a file that is too big was read")
	}
	if got := len(f.files()); got != 5 {
		t.Errorf("%d files", got)
	}
}

// TestForgedDerivation: a .drv that claims an output that is not its own does not get in, by no way.
func TestForgedDerivation(t *testing.T) {
	t.Parallel()
	f := newFixture(t, quiet)
	ctx := context.Background()
	drv := &derivation.Derivation{
		Name: "forged", System: "x86_64-linux", Builder: "/bin/sh",
		Outputs: map[string]derivation.Output{"out": {Path: path("forged")}},
		Env:     map[string]string{"out": store.DefaultDir.Join(path("forged")), "name": "forged"},
	}
	_, err := f.AddDerivation(ctx, drv)
	var wrong *derivation.OutputPathError
	if !errors.As(err, &wrong) {
		t.Errorf("got %v", err)
	}
	text := drv.ATerm(store.DefaultDir)
	if _, err := f.AddText(ctx, "forged.drv", text, nil); !errors.As(err, &wrong) {
		t.Errorf("as a text: got %v", err)
	}
	if _, err := f.AddText(ctx, "other.drv", []byte("no derivation"), nil); err == nil {
		t.Error("a .drv that is none was added")
	}
	f.checkWhole()
	hasher := derivation.NewHasher(store.DefaultDir, f.Derivation)
	drv.Outputs["out"], drv.Env["out"] = derivation.Output{}, ""
	check(t, hasher.Fill(ctx, drv))
	p, err := f.AddDerivation(ctx, drv)
	check(t, err)
	outputs, err := f.Outputs(ctx, p)
	check(t, err)
	derivers, err := f.ValidDerivers(ctx, outputs["out"])
	if err != nil || len(derivers) != 1 || derivers[0] != p {
		t.Errorf("derivers %v, %v", derivers, err)
	}
	_, err = f.Delete(ctx, p)
	check(t, err)
	if derivers, err = f.ValidDerivers(ctx, outputs["out"]); err != nil || len(derivers) != 0 {
		t.Errorf("derivers of a deleted derivation: %v, %v", derivers, err)
	}
}

func TestKeepOutputsAndDerivations(t *testing.T) {
	t.Parallel()
	for i, o := range []local.GCOptions{{}, {KeepOutputs: true}, {KeepDerivations: true}} {
		f := newFixture(t, quiet)
		ctx := context.Background()
		drv := &derivation.Derivation{
			Name: "x", System: "x86_64-linux", Builder: "/bin/sh", Outputs: map[string]derivation.Output{"out": {}}, Env: map[string]string{},
		}
		check(t, derivation.NewHasher(store.DefaultDir, f.Derivation).Fill(ctx, drv))
		p, err := f.AddDerivation(ctx, drv)
		check(t, err)
		out := drv.Outputs["out"].Path
		a := f.object("output")
		a.Info.Path, a.Info.Deriver = out, p
		check(t, f.Register(ctx, a))
		rooted := p
		if o.KeepDerivations {
			rooted = out
		}
		release := f.AddTempRoot(rooted)
		defer release()
		result, err := f.GC(ctx, o)
		check(t, err)
		if want := []int{1, 0, 0}[i]; len(result.Paths) != want {
			t.Errorf("%+v: deleted%s", o, fmt.Sprint(result.Paths))
		}
	}
}
