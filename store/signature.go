package store

import (
	"crypto/ed25519"
	"encoding/base64"
	"io"
	"strings"
)

// Signature is an ed25519 signature with the name of its key, written
// "name:base64".
type Signature struct {
	Name string
	Data [ed25519.SignatureSize]byte
}

// ParseSignature parses "name:base64".
func ParseSignature(s string) (Signature, error) {
	name, b, err := parseNamed("signature", s, ed25519.SignatureSize)
	if err != nil {
		return Signature{}, err
	}
	return Signature{name, [ed25519.SignatureSize]byte(b)}, nil
}

func (s Signature) String() string {
	return s.Name + ":" + base64.StdEncoding.EncodeToString(s.Data[:])
}

// PublicKey verifies signatures by the key of the same name.
type PublicKey struct {
	Name string
	Key  ed25519.PublicKey
}

// ParsePublicKey parses "name:base64", as in nix.conf's trusted-public-keys.
// Surrounding white space is ignored.
func ParsePublicKey(s string) (PublicKey, error) {
	name, b, err := parseNamed("public key", strings.TrimSpace(s), ed25519.PublicKeySize)
	if err != nil {
		return PublicKey{}, err
	}
	return PublicKey{name, b}, nil
}

func (k PublicKey) String() string { return k.Name + ":" + base64.StdEncoding.EncodeToString(k.Key) }

// SecretKey makes signatures.
type SecretKey struct {
	Name string
	Key  ed25519.PrivateKey
}

// ParseSecretKey parses "name:base64", the form of Nix's secret key files.
// Surrounding white space is ignored. The error does not repeat the key.
func ParseSecretKey(s string) (SecretKey, error) {
	name, b, err := parseNamed("secret key", strings.TrimSpace(s), ed25519.PrivateKeySize)
	if err != nil {
		shown, _, ok := strings.Cut(strings.TrimSpace(s), ":")
		if !ok {
			shown = "" // it may be the key itself
		}
		return SecretKey{}, syntaxError("secret key", shown, "expected NAME:BASE64 with %d bytes of key", ed25519.PrivateKeySize)
	}
	return SecretKey{name, b}, nil
}

// GenerateKey makes a key from a source of randomness (crypto/rand.Reader).
func GenerateKey(name string, random io.Reader) (SecretKey, error) {
	if !validKeyName(name) {
		return SecretKey{}, syntaxError("key name", name, "expected a word without colon, such as cache.example.org-1")
	}
	_, key, err := ed25519.GenerateKey(random)
	if err != nil {
		return SecretKey{}, err
	}
	return SecretKey{name, key}, nil
}

func validKeyName(name string) bool {
	return name != "" && !strings.ContainsAny(name, ": \t\r\n")
}

// Public is the key that verifies k's signatures.
func (k SecretKey) Public() PublicKey {
	return PublicKey{k.Name, k.Key.Public().(ed25519.PublicKey)}
}

// Text is the form of a secret key file. There is deliberately no String.
func (k SecretKey) Text() string { return k.Name + ":" + base64.StdEncoding.EncodeToString(k.Key) }

// Sign signs a fingerprint.
func (k SecretKey) Sign(fingerprint string) Signature {
	return Signature{k.Name, [ed25519.SignatureSize]byte(ed25519.Sign(k.Key, []byte(fingerprint)))}
}

// KeyRing holds trusted keys by name; a name may have several.
type KeyRing map[string][]PublicKey

// NewKeyRing collects keys.
func NewKeyRing(keys ...PublicKey) KeyRing {
	r := KeyRing{}
	for _, k := range keys {
		r[k.Name] = append(r[k.Name], k)
	}
	return r
}

// VerifyAny reports whether at least one signature over the fingerprint is by a
// key of the ring.
func (r KeyRing) VerifyAny(fingerprint string, sigs []Signature) bool {
	msg := []byte(fingerprint)
	for _, s := range sigs {
		for _, k := range r[s.Name] {
			if ed25519.Verify(k.Key, msg, s.Data[:]) {
				return true
			}
		}
	}
	return false
}

func parseNamed(what, s string, size int) (string, []byte, error) {
	name, text, ok := strings.Cut(s, ":")
	if !ok || !validKeyName(name) {
		return "", nil, syntaxError(what, s, "expected NAME:BASE64")
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != size || strings.ContainsAny(text, "\r\n") {
		return "", nil, syntaxError(what, s, "expected %d bytes in base 64 after the colon", size)
	}
	return name, b, nil
}
