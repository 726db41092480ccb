package store_test

import (
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"larder/store"
	"larder/test/fixture"
)

// narInfos returns the texts of all narinfos of an archive, by cache and name.
func narInfos(t testing.TB, archive string) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{}
	for name, f := range fixture.Open(t, archive) {
		if !strings.HasSuffix(name, ".narinfo") {
			continue
		}
		cache := path.Base(path.Dir(name))
		if all[cache] == nil {
			all[cache] = map[string]string{}
		}
		all[cache][path.Base(name)] = string(f.Data)
	}
	return all
}

// Every narinfo that Nix wrote parses, prints back byte-equal, and has a good
// signature if the cache was written with a key.
func TestGoldenNarInfos(t *testing.T) {
	_, public := readKeys(t, "cache.example.org-1")
	_, other := readKeys(t, "other.example.org-1")
	_, impostor := readKeys(t, "cache.example.org-1.impostor")
	url := map[string]string{}
	for _, row := range fixture.TSV(t, "caches/plain.tsv") {
		url[row[0]] = row[1]
	}
	caches := narInfos(t, "caches/plain.tar.zst")
	signed, doubly := 0, 0
	for cache, infos := range caches {
		for name, text := range infos {
			n, err := store.ParseNarInfo(dir, text)
			if err != nil {
				t.Errorf("%s/%s: %v", cache, name, err)
				continue
			}
			if got := n.Text(dir); got != text {
				t.Errorf("%s/%s prints as\n%s\nwant\n%s", cache, name, got, text)
			}
			if n.Path.HashPart()+".narinfo" != name {
				t.Errorf("%s/%s is for %s", cache, name, n.Path)
			}
			want := strings.Contains(url[cache], "secret-key")
			if got := n.SignedBy(dir, store.NewKeyRing(public)); got != want {
				t.Errorf("%s/%s: signed is %v, want %v", cache, name, got, want)
			}
			if got := n.SignedBy(dir, store.NewKeyRing(impostor)); got != (cache == "signed-twice") {
				t.Errorf("%s/%s: signed by the second key of the name is %v", cache, name, got)
			}
			if n.SignedBy("/gnu/store", store.NewKeyRing(public, other)) {
				t.Errorf("%s/%s: a signature verifies that should not", cache, name)
			}
			if want {
				signed++
			}
			if n.SignedBy(dir, store.NewKeyRing(other)) {
				doubly++
			}
		}
	}
	if signed == 0 || doubly == 0 {
		t.Errorf("%d signed narinfos, %d with two signatures", signed, doubly)
	}
}

// Signing makes the signatures that Nix made, with three keys of which two have
// the same name.
func TestSignAsNix(t *testing.T) {
	secret, _ := readKeys(t, "cache.example.org-1")
	otherSecret, _ := readKeys(t, "other.example.org-1")
	impostor, _ := readKeys(t, "cache.example.org-1.impostor")
	for name, text := range narInfos(t, "caches/plain.tar.zst")["signed-twice"] {
		n, err := store.ParseNarInfo(dir, text)
		if err != nil {
			t.Fatal(err)
		}
		n.Signatures = nil
		for _, k := range []store.SecretKey{otherSecret, secret, impostor, secret} {
			n.Sign(dir, k)
		}
		if got := n.Text(dir); got != text {
			t.Errorf("%s is signed as\n%s\nwant\n%s", name, got, text)
		}
	}
}

// strictNarInfos are tampered caches in which we refuse a narinfo that Nix
// parses; it refuses all of them later.
var strictNarInfos = []string{"field-twice", "narhash-sha1", "url-twice"}

func TestTamperedNarInfos(t *testing.T) {
	_, public := readKeys(t, "cache.example.org-1")
	ring := store.NewKeyRing(public)
	caches := narInfos(t, "caches/tampered.tar.zst")
	refused := 0
	for _, row := range fixture.TSV(t, "caches/tampered.tsv") {
		name, strictExit, strictText, laxExit := row[0], row[2], row[4], row[5]
		var failure error
		trusted := true
		for file, text := range caches[name] {
			n, err := store.ParseNarInfo(dir, text)
			if err != nil {
				failure = err
				var syntax *store.SyntaxError
				if !errors.As(err, &syntax) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%s/%s: error %v", name, file, err)
				}
				continue
			}
			trusted = trusted && (n.SignedBy(dir, ring) || n.ContentAddressed(dir))
		}
		// Nix's words for what it can't parse.
		unparsed := slices.ContainsFunc([]string{"corrupt", "too short", "illegal", "not a content address", "not an absolute path", "not in the Nix store"},
			func(s string) bool { return strings.Contains(strictText, s) })
		strict := slices.Contains(strictNarInfos, name)
		switch {
		case (strictExit == "0" || laxExit == "0") && (failure != nil || strict):
			t.Errorf("%s: Nix takes it, but: %v", name, failure)
		case (unparsed || strict) && failure == nil:
			t.Errorf("%s: parses, but Nix said %s", name, strictText)
		case !unparsed && !strict && failure != nil:
			t.Errorf("%s: %v, but Nix said %s", name, failure, strictText)
		case strictExit == "0" && !trusted:
			t.Errorf("%s: is not trusted, but Nix trusts it", name)
		case strictExit != "0" && strings.HasPrefix(name, "sig-") && trusted:
			t.Errorf("%s: is trusted, but Nix said %s", name, strictText)
		}
		if failure != nil {
			refused++
		}
	}
	if refused < 15 {
		t.Errorf("only %d were refused", refused)
	}
}

const goodNarInfo = `StorePath: /nix/store/` + leaf + `
URL: nar/x.nar
NarHash: sha256:1wpb12yzx7nwazli8xc69mvalrf7h19m5sz6wdis76lapb3vm5kb
NarSize: 1224
References: a2ldl1vai3l00k2xgpvkq9sl9b7z7s9l-top  ` + leaf + ` a2ldl1vai3l00k2xgpvkq9sl9b7z7s9l-top
`

func TestParseNarInfo(t *testing.T) {
	n, err := store.ParseNarInfo(dir, goodNarInfo+"Unknown: x\nUnknown: y\nDeriver: unknown-deriver\nCA:\nSig: junk\nSig: k:AAAA\n")
	if err != nil {
		t.Fatal(err)
	}
	if n.Compression != "bzip2" || len(n.References) != 2 || !n.Deriver.IsZero() || !n.CA.IsZero() || len(n.Signatures) != 0 || !n.FileHash.IsZero() {
		t.Errorf("parsed as %+v", n)
	}
	if want := "1;/nix/store/" + leaf + ";sha256:1wpb12yzx7nwazli8xc69mvalrf7h19m5sz6wdis76lapb3vm5kb;1224;" +
		"/nix/store/a2ldl1vai3l00k2xgpvkq9sl9b7z7s9l-top,/nix/store/" + leaf; n.Fingerprint(dir) != want {
		t.Errorf("fingerprint %s, want %s", n.Fingerprint(dir), want)
	}
	secret, _ := readKeys(t, "cache.example.org-1")
	sig := "Sig: " + secret.Sign("x").String() + "\n"
	for what, text := range map[string]string{
		"empty":               "",
		"blank line":          goodNarInfo + "\n",
		"no final newline":    strings.TrimSuffix(goodNarInfo, "\n"),
		"no colon":            goodNarInfo + "junk\n",
		"no space":            goodNarInfo + "FileSize:1\n",
		"CRLF":                strings.ReplaceAll(goodNarInfo, "\n", "\r\n"),
		"size twice":          goodNarInfo + "NarSize: 1224\n",
		"references twice":    goodNarInfo + "References: \n",
		"a tab in references": strings.Replace(goodNarInfo, "  ", "\t", 1),
		"size 0":              strings.Replace(goodNarInfo, "1224", "0", 1),
		"size -1":             strings.Replace(goodNarInfo, "1224", "-1", 1),
		"size +1":             strings.Replace(goodNarInfo, "1224", "+1", 1),
		"size too big":        strings.Replace(goodNarInfo, "1224", "18446744073709551616", 1),
		"no URL":              strings.Replace(goodNarInfo, "URL: nar/x.nar\n", "", 1),
		"empty URL":           strings.Replace(goodNarInfo, "URL: nar/x.nar\n", "URL: \n", 1),
		"another hash":        strings.Replace(goodNarInfo, "sha256", "sha512", 1),
		"another store":       strings.Replace(goodNarInfo, "/nix/store", "/gnu/store", 1),
		"path in the store":   strings.Replace(goodNarInfo, leaf, leaf+"/x", 1),
		"CA":                  goodNarInfo + "CA: junk\n",
		"deriver":             goodNarInfo + "Deriver: /nix/store/" + leaf + ".drv\n",
		"file hash":           goodNarInfo + "FileHash: junk\n",
		"file size":           goodNarInfo + "FileSize: junk\n",
		"signatures":          goodNarInfo + strings.Repeat(sig, store.MaxSignatures+1),
		"too long":            goodNarInfo + "X: " + strings.Repeat("x", store.MaxNarInfo) + "\n",
	} {
		if _, err := store.ParseNarInfo(dir, text); err == nil {
			t.Errorf("%s: it is taken", what)
		} else if len(err.Error()) > 500 || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %q", what, err)
		}
	}
}

func FuzzParseNarInfo(f *testing.F) {
	for _, archive := range []string{"caches/plain.tar.zst", "caches/tampered.tar.zst"} {
		for _, infos := range narInfos(f, archive) {
			for _, text := range infos {
				f.Add(text)
			}
		}
	}
	f.Add(goodNarInfo)
	_, public := readKeys(f, "cache.example.org-1")
	ring := store.NewKeyRing(public)
	f.Fuzz(func(t *testing.T, text string) {
		n, err := store.ParseNarInfo(dir, text)
		if err != nil {
			return
		}
		printed := n.Text(dir)
		back, err := store.ParseNarInfo(dir, printed)
		if err != nil {
			t.Fatalf("%q prints as %q: %v", text, printed, err)
		}
		if again := back.Text(dir); again != printed {
			t.Fatalf("%q, then %q", printed, again)
		}
		if n.Fingerprint(dir) != back.Fingerprint(dir) {
			t.Fatalf("%q: the fingerprint changes", text)
		}
		n.SignedBy(dir, ring)
		n.ContentAddressed(dir)
	})
}
