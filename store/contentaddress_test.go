package store_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"larder/store"
	"larder/test/fixture"
)

func TestParseContentAddress(t *testing.T) {
	const nix32 = "0ip26j2h11n1kgkz36rl4akv694yz65hr72q4kv4b3lxcbi65b3p"
	const hex = "77ac62e2629d8e45f624589c0c8bf99e24b3a722349bf1e79bc186008534e246"
	hash, err := store.ParseHash(nix32, store.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	for text, method := range map[string]store.Method{
		"text:sha256:":      store.Text,
		"fixed:sha256:":     store.Flat,
		"fixed:r:sha256:":   store.Recursive,
		"fixed:git:sha256:": store.Git,
	} {
		for _, digest := range []string{nix32, hex} {
			got, err := store.ParseContentAddress(text + digest)
			if err != nil || got != (store.ContentAddress{Method: method, Hash: hash}) {
				t.Errorf("%s is %v (%v)", text+digest, got, err)
			}
			if got.String() != text+nix32 {
				t.Errorf("%s prints as %s", text+digest, got)
			}
		}
	}
	if ca, err := store.ParseContentAddress(""); err != nil || !ca.IsZero() || ca.String() != "" {
		t.Errorf("empty is %v (%v)", ca, err)
	}
	for _, bad := range []string{
		"junk", "text", "text:", "text:" + nix32, "text:sha256", "text:sha256:", "text:sha1:" + hex[:40],
		"fixed:" + nix32, "fixed:r:" + nix32, "fixed:r:r:sha256:" + nix32, "fixed:git:" + nix32, "fixed:git:sha512:" + strings.Repeat("00", 64), "fixed:text:sha256:" + nix32,
		"Text:sha256:" + nix32, "fixed:sha256-d6xi4mKdjkX2JFicDIv5niSzpyI0m/Hnm8GGAIU04kY=", "sha256:" + nix32, " text:sha256:" + nix32,
	} {
		if ca, err := store.ParseContentAddress(bad); err == nil || !ca.IsZero() {
			t.Errorf("%q is %v", bad, ca)
		}
	}
}

func TestMethods(t *testing.T) {
	for _, m := range []store.Method{store.Text, store.Flat, store.Recursive, store.Git} {
		if got, err := store.ParseMethod(m.String()); err != nil || got != m {
			t.Errorf("%v comes back as %v (%v)", m, got, err)
		}
	}
	for _, bad := range []string{"", "tree", "recursive", "NAR"} {
		if m, err := store.ParseMethod(bad); err == nil {
			t.Errorf("%q is %v", bad, m)
		}
	}
}

// readPathInfos returns every path info of a list in a JSON file.
func readPathInfos(t testing.TB, list []store.PathInfoJSON) []*store.PathInfo {
	t.Helper()
	var infos []*store.PathInfo
	for _, j := range list {
		info, err := j.PathInfo(dir)
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, info)
	}
	return infos
}

// The path of everything that Nix recorded a content address for follows from
// that and the references; the path of nothing else does.
func TestContentPaths(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(fixture.Path(t, "derivations/expected"), "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	count := map[store.Method]int{}
	for _, file := range files {
		var c struct {
			DrvInfo     store.PathInfoJSON
			PathInfo    []store.PathInfoJSON
			ClosureInfo []store.PathInfoJSON
		}
		if err := json.Unmarshal(fixture.Read(t, file), &c); err != nil {
			t.Fatal(err)
		}
		list := append(c.PathInfo, c.ClosureInfo...)
		if c.DrvInfo.Path != "" {
			list = append(list, c.DrvInfo)
		}
		for _, info := range readPathInfos(t, list) {
			if info.CA.IsZero() != !info.ContentAddressed(dir) {
				t.Errorf("%s with content address %q: content-addressed is %v", info.Path, info.CA, info.ContentAddressed(dir))
			}
			count[info.CA.Method]++
			if info.CA.IsZero() {
				continue
			}
			other := *info
			other.CA.Hash = store.SHA256.Sum(info.CA.Hash.Bytes())
			if other.ContentAddressed(dir) || info.ContentAddressed("/gnu/store") {
				t.Errorf("%s: another hash or store directory gives the same path", info.Path)
			}
		}
	}
	for _, m := range []store.Method{0, store.Text, store.Flat, store.Recursive} {
		if count[m] == 0 {
			t.Errorf("no path with method %q was checked", m)
		}
	}
}

func TestContentPathRefuses(t *testing.T) {
	sha256, sha1 := store.SHA256.Sum(nil), store.SHA1.Sum(nil)
	others := []store.StorePath{mustPath(t, leaf)}
	for what, c := range map[string]struct {
		ca   store.ContentAddress
		refs store.References
		name string
	}{
		"no method":                   {store.ContentAddress{Hash: sha256}, store.References{}, "x"},
		"no hash":                     {store.ContentAddress{Method: store.Flat}, store.References{}, "x"},
		"text with sha1":              {store.ContentAddress{Method: store.Text, Hash: sha1}, store.References{}, "x"},
		"text that refers to itself":  {store.ContentAddress{Method: store.Text, Hash: sha256}, store.References{Self: true}, "x"},
		"flat with references":        {store.ContentAddress{Method: store.Flat, Hash: sha256}, store.References{Others: others}, "x"},
		"flat that refers to itself":  {store.ContentAddress{Method: store.Flat, Hash: sha256}, store.References{Self: true}, "x"},
		"git with md5":                {store.ContentAddress{Method: store.Git, Hash: store.MD5.Sum(nil)}, store.References{}, "x"},
		"git with references":         {store.ContentAddress{Method: store.Git, Hash: sha1}, store.References{Others: others}, "x"},
		"sha1 tree with references":   {store.ContentAddress{Method: store.Recursive, Hash: sha1}, store.References{Others: others}, "x"},
		"a name that can't be a name": {store.ContentAddress{Method: store.Recursive, Hash: sha256}, store.References{}, "a/b"},
	} {
		if p, err := dir.ContentPath(c.name, c.ca, c.refs); err == nil || !p.IsZero() {
			t.Errorf("%s has the path %v", what, p)
		}
	}
	// The order of references does not matter, nor does one that is repeated.
	ca := store.ContentAddress{Method: store.Text, Hash: sha256}
	others = append(others, mustPath(t, strings.Replace(leaf, "v", "a", 1)))
	p, err := dir.ContentPath("x", ca, store.References{Others: others})
	if err != nil {
		t.Fatal(err)
	}
	q, err := dir.ContentPath("x", ca, store.References{Others: []store.StorePath{others[1], others[0], others[1]}})
	if err != nil || p != q {
		t.Errorf("%v, in another order %v (%v)", p, q, err)
	}
}

func FuzzParseContentAddress(f *testing.F) {
	f.Add("fixed:r:sha256:0ip26j2h11n1kgkz36rl4akv694yz65hr72q4kv4b3lxcbi65b3p")
	f.Add("fixed:git:sha1:5ef1b7pxvvvbj1pc9gws2c7n0k6bvbmb")
	f.Add("text:sha256:77ac62e2629d8e45f624589c0c8bf99e24b3a722349bf1e79bc186008534e246")
	f.Fuzz(func(t *testing.T, s string) {
		ca, err := store.ParseContentAddress(s)
		if err != nil {
			return
		}
		if back, err := store.ParseContentAddress(ca.String()); err != nil || back != ca {
			t.Fatalf("%q is %v, which comes back as %v (%v)", s, ca, back, err)
		}
	})
}
