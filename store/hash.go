package store

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"strings"

	"lukechampine.com/blake3"
)

// HashAlgo is one of the hash algorithms that Nix knows. The zero value means
// that none is given.
type HashAlgo uint8

const (
	MD5 HashAlgo = iota + 1
	SHA1
	SHA256
	SHA512
	BLAKE3 // 256 bits; newer than Nix 2.8
)

// hashAlgos are the names, as they are listed to the user.
const hashAlgos = "md5, sha1, sha256, sha512 or blake3"

// ParseHashAlgo takes "md5", "sha1", "sha256", "sha512" or "blake3".
func ParseHashAlgo(s string) (HashAlgo, error) {
	for a := MD5; a <= BLAKE3; a++ {
		if s == a.String() {
			return a, nil
		}
	}
	return 0, syntaxError("hash algorithm", s, "expected %s", hashAlgos)
}

func (a HashAlgo) String() string {
	switch a {
	case MD5:
		return "md5"
	case SHA1:
		return "sha1"
	case SHA256:
		return "sha256"
	case SHA512:
		return "sha512"
	case BLAKE3:
		return "blake3"
	}
	return ""
}

// blake3Size is how much Nix takes of BLAKE3's output.
const blake3Size = 32

// Size is the length of a digest in bytes.
func (a HashAlgo) Size() int {
	switch a {
	case MD5:
		return md5.Size
	case SHA1:
		return sha1.Size
	case SHA256:
		return sha256.Size
	case SHA512:
		return sha512.Size
	case BLAKE3:
		return blake3Size
	}
	return 0
}

// New starts a hash. It panics for the zero algorithm.
func (a HashAlgo) New() hash.Hash {
	switch a {
	case MD5:
		return md5.New()
	case SHA1:
		return sha1.New()
	case SHA256:
		return sha256.New()
	case SHA512:
		return sha512.New()
	case BLAKE3:
		return blake3.New(blake3Size, nil)
	}
	panic("store: no hash algorithm")
}

// Sum hashes b.
func (a HashAlgo) Sum(b []byte) Hash {
	h := a.New()
	h.Write(b)
	return SumOf(a, h)
}

// SumOf takes the digest of a running hash that a.New started.
func SumOf(a HashAlgo, h hash.Hash) Hash {
	r := Hash{algo: a}
	h.Sum(r.digest[:0])
	return r
}

// Hash is a digest with its algorithm. It is comparable; the zero value means
// that there is none.
type Hash struct {
	algo   HashAlgo
	digest [sha512.Size]byte
}

// NewHash wraps a digest, which must have the algorithm's length.
func NewHash(a HashAlgo, digest []byte) (Hash, error) {
	if a.Size() == 0 || len(digest) != a.Size() {
		return Hash{}, syntaxError("hash", hex.EncodeToString(digest), "wrong length for %s", a)
	}
	h := Hash{algo: a}
	copy(h.digest[:], digest)
	return h, nil
}

// Algo is the algorithm, 0 for the zero Hash.
func (h Hash) Algo() HashAlgo { return h.algo }

// IsZero reports whether there is no hash.
func (h Hash) IsZero() bool { return h.algo == 0 }

// Bytes returns a copy of the digest.
func (h Hash) Bytes() []byte { return bytes.Clone(h.digest[:h.algo.Size()]) }

// Encoding is a text form of a digest.
type Encoding uint8

const (
	Base16 Encoding = iota
	Nix32
	Base64
	SRI // "sha256-<base64>": always with the algorithm, as in Subresource Integrity
)

// Encode returns the digest alone, without algorithm, except for [SRI].
func (h Hash) Encode(e Encoding) string {
	d := h.digest[:h.algo.Size()]
	switch e {
	case Base16:
		return hex.EncodeToString(d)
	case Nix32:
		return EncodeNix32(d)
	case Base64:
		return base64.StdEncoding.EncodeToString(d)
	}
	return h.algo.String() + "-" + base64.StdEncoding.EncodeToString(d)
}

// Text returns "<algorithm>:<digest>", or the SRI form.
func (h Hash) Text(e Encoding) string {
	if e == SRI {
		return h.Encode(SRI)
	}
	return h.algo.String() + ":" + h.Encode(e)
}

// String is the form that narinfo files use: "sha256:<nix32>".
func (h Hash) String() string {
	if h.IsZero() {
		return ""
	}
	return h.Text(Nix32)
}

// ParseHash reads any form that Nix reads: "algo:digest" with the digest in
// base 16, nix32 or base 64 (told apart by length), "algo-base64" (SRI), or a
// bare digest where want says the algorithm. If want is not zero, another
// algorithm in the text is an error.
func ParseHash(s string, want HashAlgo) (Hash, error) {
	algo, rest, sri := want, s, false
	if i := strings.IndexAny(s, ":-"); i >= 0 {
		a, err := ParseHashAlgo(s[:i])
		if err != nil {
			return Hash{}, syntaxError("hash", s, "unknown algorithm")
		}
		if want != 0 && a != want {
			return Hash{}, syntaxError("hash", s, "expected algorithm %s", want)
		}
		algo, rest, sri = a, s[i+1:], s[i] == '-'
	}
	if algo == 0 {
		return Hash{}, syntaxError("hash", s, "it does not say its algorithm")
	}
	d, err := decodeDigest(rest, algo.Size(), sri)
	if err != nil {
		return Hash{}, syntaxError("hash", s, "%v", err)
	}
	return NewHash(algo, d)
}

// decodeDigest tells the encodings apart by their length, as Nix does; no two
// agree for the digest sizes that exist. In base 64 the padding may be missing
// and bits beyond the end set, as in hashes that people edit by hand: a fetcher
// that works with Nix must work here. What is printed is canonical.
func decodeDigest(s string, size int, sri bool) ([]byte, error) {
	switch {
	case sri || len(s) == base64.StdEncoding.EncodedLen(size):
		digits := strings.TrimRight(s, "=")
		if len(digits) != base64.RawStdEncoding.EncodedLen(size) {
			return nil, errDigestLength
		}
		if strings.ContainsAny(digits, "\r\n") {
			return nil, errDigestChar // the decoder would skip them
		}
		return base64.RawStdEncoding.DecodeString(digits)
	case len(s) == hex.EncodedLen(size):
		return hex.DecodeString(s)
	case len(s) == nix32Len(size):
		return DecodeNix32(s)
	}
	return nil, errDigestLength
}

var (
	errDigestLength = errors.New("wrong length for the algorithm")
	errDigestChar   = errors.New("it has a line break")
)
