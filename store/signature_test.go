package store_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"larder/store"
	"larder/test/fixture"
)

func readKeys(t testing.TB, name string) (store.SecretKey, store.PublicKey) {
	t.Helper()
	secret, err := store.ParseSecretKey(string(fixture.Read(t, "caches/keys/"+name+".sec")))
	if err != nil {
		t.Fatal(err)
	}
	public, err := store.ParsePublicKey(string(fixture.Read(t, "caches/keys/"+name+".pub")))
	if err != nil {
		t.Fatal(err)
	}
	return secret, public
}

func TestKeys(t *testing.T) {
	for _, name := range []string{"cache.example.org-1", "cache.example.org-1.impostor", "other.example.org-1"} {
		secret, public := readKeys(t, name)
		if got, want := secret.Text(), string(fixture.Read(t, "caches/keys/"+name+".sec")); got != want {
			t.Errorf("%s: the secret key prints differently", name)
		}
		if got, want := public.String(), string(fixture.Read(t, "caches/keys/"+name+".pub")); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if got := secret.Public().String(); got != public.String() {
			t.Errorf("%s: the public key is %s, want %s", name, got, public)
		}
	}
}

func TestSignature(t *testing.T) {
	secret, public := readKeys(t, "cache.example.org-1")
	impostor, impostorPublic := readKeys(t, "cache.example.org-1.impostor")
	_, other := readKeys(t, "other.example.org-1")
	s := secret.Sign("message")
	if back, err := store.ParseSignature(s.String()); err != nil || back != s {
		t.Errorf("%v comes back as %v (%v)", s, back, err)
	}
	flipped := s
	flipped.Data[0] ^= 1
	renamed := s
	renamed.Name = other.Name
	ring := store.NewKeyRing(other, public)
	for what, c := range map[string]struct {
		ring    store.KeyRing
		message string
		sigs    []store.Signature
		want    bool
	}{
		"good":               {ring, "message", []store.Signature{s}, true},
		"after bad ones":     {ring, "message", []store.Signature{flipped, renamed, s}, true},
		"another message":    {ring, "massage", []store.Signature{s}, false},
		"flipped":            {ring, "message", []store.Signature{flipped}, false},
		"another key's name": {ring, "message", []store.Signature{renamed}, false},
		"an impostor":        {ring, "message", []store.Signature{impostor.Sign("message")}, false},
		"two keys of a name": {store.NewKeyRing(public, impostorPublic), "message", []store.Signature{impostor.Sign("message")}, true},
		"no signature":       {ring, "message", nil, false},
		"no keys":            {nil, "message", []store.Signature{s}, false},
	} {
		if got := c.ring.VerifyAny(c.message, c.sigs); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}

func TestParseKeysRefuses(t *testing.T) {
	secret, public := readKeys(t, "cache.example.org-1")
	good := map[string]func(string) error{
		secret.Sign("x").String(): func(s string) error { _, err := store.ParseSignature(s); return err },
		public.String():           func(s string) error { _, err := store.ParsePublicKey(s); return err },
		secret.Text():             func(s string) error { _, err := store.ParseSecretKey(s); return err },
	}
	for text, parse := range good {
		if err := parse(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		name, key, _ := strings.Cut(text, ":")
		for _, bad := range []string{"", ":", name, name + ":", ":" + key, key, name + key, name + ":" + key[1:], name + ":" + key + "A", name + "::" + key, "a b:" + key, name + ":" + key[:20] + "\n" + key[20:], name + ":!!!!", name + ": " + key} {
			err := parse(bad)
			if err == nil {
				t.Errorf("%q is taken", bad)
			} else if text == secret.Text() && strings.Contains(err.Error(), key[5:20]) {
				t.Errorf("the error repeats the secret key: %v", err)
			}
		}
	}
}

func TestGenerateKey(t *testing.T) {
	k, err := store.GenerateKey("new-1", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	back, err := store.ParseSecretKey(k.Text() + "\n")
	if err != nil || back.Text() != k.Text() {
		t.Errorf("the key does not come back (%v)", err)
	}
	if !store.NewKeyRing(k.Public()).VerifyAny("x", []store.Signature{back.Sign("x")}) {
		t.Error("its signature is not good")
	}
	for _, bad := range []string{"", "a:b", "a b", "a\n"} {
		if _, err := store.GenerateKey(bad, rand.Reader); err == nil {
			t.Errorf("a key can be called %q", bad)
		}
	}
	if k, err := store.GenerateKey("x", strings.NewReader("")); err == nil && k.Name == "" {
		t.Error("a key without a name and without an error")
	}
}

func FuzzParseSignature(f *testing.F) {
	secret, public := readKeys(f, "cache.example.org-1")
	f.Add(secret.Sign("x").String())
	f.Add(public.String())
	f.Fuzz(func(t *testing.T, s string) {
		if sig, err := store.ParseSignature(s); err == nil {
			if back, err := store.ParseSignature(sig.String()); err != nil || back != sig {
				t.Fatalf("%q comes back as %v (%v)", s, back, err)
			}
			store.NewKeyRing(public).VerifyAny("x", []store.Signature{sig})
		}
		if key, err := store.ParsePublicKey(s); err == nil {
			if back, err := store.ParsePublicKey(key.String()); err != nil || back.String() != key.String() {
				t.Fatalf("%q comes back as %v (%v)", s, back, err)
			}
		}
	})
}
