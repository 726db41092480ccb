package store

import (
	"cmp"
	"path"
	"strings"
)

const (
	digestSize = 20  // bytes of digest in a store path
	digestText = 32  // characters of digest in a store path
	maxName    = 211 // longest name, ".drv" included (Nix 2.8)
)

// StorePath names a store object, without its store directory. It is
// comparable and usable as a map key; the zero value means "none".
type StorePath struct {
	digest [digestSize]byte
	name   string
}

// NewStorePath makes a path of its parts. Digest is 20 bytes.
func NewStorePath(digest [20]byte, name string) (StorePath, error) {
	if err := CheckName(name); err != nil {
		return StorePath{}, err
	}
	return StorePath{digest, name}, nil
}

// ParseStorePath parses a base name, "<digest>-<name>".
func ParseStorePath(base string) (StorePath, error) {
	if len(base) < digestText+2 || base[digestText] != '-' {
		return StorePath{}, syntaxError("store path", base, "expected 32 characters of digest, a dash and a name")
	}
	digest, err := ParseHashPart(base[:digestText])
	if err != nil {
		return StorePath{}, err
	}
	return NewStorePath(digest, base[digestText+1:])
}

// ParseHashPart decodes the 32 characters before the dash.
func ParseHashPart(s string) (digest [20]byte, err error) {
	if len(s) != digestText {
		return digest, syntaxError("store path digest", s, "expected 32 characters")
	}
	b, err := DecodeNix32(s)
	if err != nil {
		return digest, syntaxError("store path digest", s, "%v", err)
	}
	return [20]byte(b), nil
}

// CheckName reports what makes a name unfit for a store path. A leading dot is
// allowed, but not "." and "..", alone or before a dash: Nix 2.8 takes those too,
// its successors don't.
func CheckName(name string) error {
	switch {
	case name == "":
		return syntaxError("store path name", name, "it is empty")
	case len(name) > maxName:
		return syntaxError("store path name", name, "it is longer than %d characters", maxName)
	}
	if first, _, _ := strings.Cut(name, "-"); first == "." || first == ".." {
		return syntaxError("store path name", name, "it begins with a name that means a directory")
	}
	for i := range len(name) {
		if !nameByte(name[i]) {
			return syntaxError("store path name", name, "character %q is not allowed", name[i])
		}
	}
	return nil
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("+-._?=", c) >= 0
}

// IsZero reports whether p is "none".
func (p StorePath) IsZero() bool { return p.name == "" }

// String is the base name, "<digest>-<name>".
func (p StorePath) String() string {
	if p.IsZero() {
		return ""
	}
	return p.HashPart() + "-" + p.name
}

// Name is the part after the dash.
func (p StorePath) Name() string { return p.name }

// HashPart is the part before the dash: 32 characters of nix32.
func (p StorePath) HashPart() string { return EncodeNix32(p.digest[:]) }

// Digest is the decoded hash part.
func (p StorePath) Digest() [20]byte { return p.digest }

// IsDerivation reports whether the name ends in ".drv".
func (p StorePath) IsDerivation() bool { return strings.HasSuffix(p.name, ".drv") }

// Compare orders paths by their base names, as Nix sorts them.
func (p StorePath) Compare(q StorePath) int {
	// Nix32 prints the last byte first.
	for i := digestSize - 1; i >= 0; i-- {
		if c := cmp.Compare(p.digest[i], q.digest[i]); c != 0 {
			return c
		}
	}
	return strings.Compare(p.name, q.name)
}

// MarshalText returns the base name, "" for none.
func (p StorePath) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is the inverse of MarshalText. It leaves p alone on an error.
func (p *StorePath) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*p = StorePath{}
		return nil
	}
	q, err := ParseStorePath(string(b))
	if err == nil {
		*p = q
	}
	return err
}

// Dir is a store directory: an absolute, clean path. It is a value because the
// digests of store paths depend on it.
type Dir string

// DefaultDir is where Nix keeps its store.
const DefaultDir Dir = "/nix/store"

// ParseDir checks that s is absolute, clean and not the root.
func ParseDir(s string) (Dir, error) {
	if !path.IsAbs(s) || path.Clean(s) != s || s == "/" || strings.ContainsAny(s, "\x00\n") {
		return "", syntaxError("store directory", s, "expected an absolute path without . or .. or trailing slash")
	}
	return Dir(s), nil
}

// Join is the absolute path of p.
func (d Dir) Join(p StorePath) string { return string(d) + "/" + p.String() }

// Parse takes the absolute path of a store object, and nothing below it.
func (d Dir) Parse(s string) (StorePath, error) {
	base, ok := strings.CutPrefix(s, string(d)+"/")
	if !ok {
		return StorePath{}, syntaxError("store path", s, "it is not in %s", d)
	}
	return ParseStorePath(base)
}

// Split takes any absolute path in the store and returns the object and what
// follows it: "" or "/bin/sh".
func (d Dir) Split(s string) (p StorePath, rest string, err error) {
	base, ok := strings.CutPrefix(s, string(d)+"/")
	if !ok {
		return StorePath{}, "", syntaxError("path in the store", s, "it is not in %s", d)
	}
	if i := strings.IndexByte(base, '/'); i >= 0 {
		base, rest = base[:i], base[i:]
	}
	p, err = ParseStorePath(base)
	return p, rest, err
}
