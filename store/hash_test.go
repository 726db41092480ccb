package store_test

import (
	"errors"
	"strings"
	"testing"

	"larder/store"
	"larder/test/fixture"
)

var algos = []store.HashAlgo{store.MD5, store.SHA1, store.SHA256, store.SHA512, store.BLAKE3}

// Every form that Nix printed of a hash parses to the same hash and prints back.
func TestHashForms(t *testing.T) {
	for _, row := range fixture.TSV(t, "nars/good.tsv") {
		for i, algo := range algos[:4] { // Nix 2.8 has no other
			forms := row[2+3*i:]
			if forms[0] == "-" {
				continue // of big trees only some were taken
			}
			texts := []string{
				algo.String() + ":" + forms[0],
				algo.String() + ":" + strings.ToUpper(forms[0]),
				algo.String() + ":" + forms[1],
				forms[2],
				strings.Replace(forms[2], "-", ":", 1),
				strings.TrimRight(forms[2], "="),
			}
			want, err := store.ParseHash(texts[0], 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range texts {
				if got, err := store.ParseHash(text, 0); err != nil || got != want {
					t.Errorf("%s is %v (%v), want %v", text, got, err, want)
				}
				if got, err := store.ParseHash(text, algo); err != nil || got != want {
					t.Errorf("%s is %v (%v), want %v", text, got, err, want)
				}
				if _, err := store.ParseHash(text, algo%4+1); err == nil {
					t.Errorf("%s is taken for another algorithm's", text)
				}
			}
			for j, e := range []store.Encoding{store.Base16, store.Nix32, store.SRI} {
				if got := want.Encode(e); got != forms[j] {
					t.Errorf("%s prints as %s, want %s", texts[0], got, forms[j])
				}
				if bare, err := store.ParseHash(forms[j], algo); err != nil || bare != want {
					t.Errorf("%s is %v (%v), want %v", forms[j], bare, err, want)
				}
			}
			if want.Algo() != algo || len(want.Bytes()) != algo.Size() || want.IsZero() {
				t.Errorf("%v: algorithm %v, %d bytes", want, want.Algo(), len(want.Bytes()))
			}
		}
	}
}

func TestParseHashRefuses(t *testing.T) {
	const sha256 = "0ip26j2h11n1kgkz36rl4akv694yz65hr72q4kv4b3lxcbi65b3p"
	for _, bad := range []string{
		"", ":", "-", "sha256", "sha256:", "sha256-", sha256,
		"sha256:" + sha256[1:], "sha256:" + sha256 + "0",
		"sha256:z" + sha256[1:],                          // bits beyond the end
		"sha256:" + strings.Replace(sha256, "0", "e", 1), // not in the alphabet
		"sha256-" + sha256,                               // SRI is base 64
		"sha3:" + sha256, "SHA256:" + sha256, "md5:" + sha256, " sha256:" + sha256,
		"sha256:sha256:" + sha256,
		"sha256-d6xi4mKdjkX2JFicDIv5niSzpyI0m/Hnm8GGAIU04k",
		"sha256-d6xi4mKdjkX2JFicDIv5niSzpyI0m/Hnm8GGAIU04k\n=",
		"sha256-d6xi4mKdjkX2JFicDIv5niSzpyI0m_Hnm8GGAIU04kY=",
		"sha256:77ac62e2629d8e45f624589c0c8bf99e24b3a722349bf1e79bc186008534e24g",
	} {
		h, err := store.ParseHash(bad, 0)
		var syntax *store.SyntaxError
		if err == nil || !errors.As(err, &syntax) {
			t.Errorf("%q is %v (%v)", bad, h, err)
		}
		if !h.IsZero() {
			t.Errorf("%q: an error and a hash", bad)
		}
	}
}

func TestSum(t *testing.T) {
	for _, algo := range algos {
		h := algo.New()
		h.Write([]byte("hello"))
		if got, want := store.SumOf(algo, h), algo.Sum([]byte("hello")); got != want || got.IsZero() {
			t.Errorf("%v, want %v", got, want)
		}
		if back, err := store.NewHash(algo, algo.Sum([]byte("hello")).Bytes()); err != nil || back != algo.Sum([]byte("hello")) {
			t.Errorf("%v (%v)", back, err)
		}
	}
	if got, want := store.SHA256.Sum([]byte("hello world")).Text(store.SRI), "sha256-uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// From the paper's reference implementation.
	for text, want := range map[string]string{
		"":    "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
		"abc": "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
	} {
		if got := store.BLAKE3.Sum([]byte(text)).Text(store.Base16); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if _, err := store.NewHash(store.SHA1, make([]byte, 19)); err == nil {
		t.Error("19 bytes of sha1")
	}
	if _, err := store.NewHash(0, nil); err == nil {
		t.Error("a hash without algorithm")
	}
}

func FuzzParseHash(f *testing.F) {
	for _, row := range fixture.TSV(f, "nars/good.tsv")[:2] {
		for _, form := range row[2:] {
			f.Add(form)
			f.Add("sha256:" + form)
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, want := range append([]store.HashAlgo{0}, algos...) {
			h, err := store.ParseHash(s, want)
			if err != nil {
				continue
			}
			for _, e := range []store.Encoding{store.Base16, store.Nix32, store.Base64, store.SRI} {
				if back, err := store.ParseHash(h.Text(e), h.Algo()); err != nil || back != h {
					t.Fatalf("%q: %s comes back as %v (%v)", s, h.Text(e), back, err)
				}
			}
		}
	})
}
