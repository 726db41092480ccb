package store_test

import (
	"encoding/json"
	"path"
	"strings"
	"testing"

	"larder/store"
	"larder/test/fixture"
)

func TestGoldenRealisations(t *testing.T) {
	secret, public := readKeys(t, "cache.example.org-1")
	_, other := readKeys(t, "other.example.org-1")
	count := 0
	for name, f := range fixture.Open(t, "caches/plain.tar.zst") {
		if !strings.HasSuffix(name, ".doi") {
			continue
		}
		count++
		var r store.Realisation
		if err := json.Unmarshal(f.Data, &r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.ID.String()+".doi" != path.Base(name) {
			t.Errorf("%s is for %s", name, r.ID)
		}
		if got, err := json.Marshal(r); err != nil || string(got) != string(f.Data) {
			t.Errorf("%s prints as %s (%v), want %s", name, got, err, f.Data)
		}
		if got, want := r.Fingerprint(), strings.Replace(string(f.Data), `,"signatures":[]`, "", 1); got != want {
			t.Errorf("%s: fingerprint %s, want %s", name, got, want)
		}
		r.Signatures = []store.Signature{secret.Sign(r.Fingerprint())}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back store.Realisation
		if err := json.Unmarshal(text, &back); err != nil || !back.SignedBy(store.NewKeyRing(public)) {
			t.Errorf("%s is not signed after it comes back (%v)", text, err)
		}
		back.OutPath = mustPath(t, leaf)
		if back.SignedBy(store.NewKeyRing(public)) || r.SignedBy(store.NewKeyRing(other)) || r.SignedBy(nil) {
			t.Errorf("%s: a signature verifies that should not", name)
		}
	}
	if count == 0 {
		t.Error("no realisations")
	}
}

const goodRealisation = `{"dependentRealisations":{},"id":"sha256:be82cfc46e4a3388f425d433a84c7dbddf8e50e4b7ce9cdb176a8807c4e7d8d9!out","outPath":"` + leaf + `","signatures":[]}`

func TestRealisationJSON(t *testing.T) {
	secret, public := readKeys(t, "cache.example.org-1")
	var r store.Realisation
	if err := json.Unmarshal([]byte(goodRealisation), &r); err != nil {
		t.Fatal(err)
	}
	sig := secret.Sign(r.Fingerprint()).String()
	key, digest, _ := strings.Cut(sig, ":")
	for _, text := range []string{
		strings.Replace(goodRealisation, `[]`, `["junk","`+sig+`"]`, 1),
		strings.Replace(goodRealisation, `[]`, `[{"keyName":1},{"keyName":"`+key+`","sig":"`+digest+`"}]`, 1),
		strings.Replace(goodRealisation, `"signatures":[]`, `"signature":"`+sig+`"`, 1),
		strings.Replace(goodRealisation, `"signatures":[]`, `"signatures":["`+sig+`"],"new":1`, 1),
	} {
		var r store.Realisation
		if err := json.Unmarshal([]byte(text), &r); err != nil || !r.SignedBy(store.NewKeyRing(public)) {
			t.Errorf("%s: %v, not signed", text, err)
		}
	}
	for _, c := range [][2]string{
		{`!out`, ``}, {`!out`, `!`}, {`!out`, `!a/b`}, {`!out`, `!a!b`}, {`sha256:`, ``}, {`sha256:b`, `sha256:`}, {`sha256`, `sha3`},
		{leaf, ``}, {leaf, `/nix/store/` + leaf}, {`"outPath"`, `"path"`}, {`"id"`, `"ID2"`}, {`{}`, `[]`}, {`{}`, `{"x":"` + leaf + `"}`}, {`[]`, `"x"`},
	} {
		text := strings.Replace(goodRealisation, c[0], c[1], 1)
		var r store.Realisation
		if err := json.Unmarshal([]byte(text), &r); err == nil {
			t.Errorf("%s is taken for %+v", text, r)
		}
	}
}

func FuzzRealisation(f *testing.F) {
	for name, file := range fixture.Open(f, "caches/plain.tar.zst") {
		if strings.HasSuffix(name, ".doi") {
			f.Add(file.Data)
		}
	}
	f.Add([]byte(goodRealisation))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r, back store.Realisation
		if json.Unmarshal(text, &r) != nil {
			return
		}
		printed, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(printed, &back); err != nil || back.Fingerprint() != r.Fingerprint() {
			t.Fatalf("%s prints as %s (%v)", text, printed, err)
		}
	})
}
