package store

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// PathInfo is what a store knows about a valid path.
type PathInfo struct {
	Path       StorePath
	NarHash    Hash   // SHA-256 of the NAR serialisation
	NarSize    uint64 // its length in bytes
	References []StorePath
	Deriver    StorePath // the derivation that made it, zero if unknown
	CA         ContentAddress
	Signatures []Signature

	RegistrationTime time.Time
	Ultimate         bool // built here: the store is its own witness
}

// Fingerprint is the text that signatures sign: path, NAR hash, size and
// references (Nix manual, "Signing and verifying store objects").
func (i *PathInfo) Fingerprint(d Dir) string {
	refs := SortPaths(i.References)
	var b strings.Builder
	b.WriteString("1;" + d.Join(i.Path) + ";" + i.NarHash.Text(Nix32) + ";" + strconv.FormatUint(i.NarSize, 10) + ";")
	for n, r := range refs {
		if n > 0 {
			b.WriteByte(',')
		}
		b.WriteString(d.Join(r))
	}
	return b.String()
}

// Sign adds a signature by k, unless it is there already. Those of other keys
// stay, even of the same name: someone may still trust the old key.
func (i *PathInfo) Sign(d Dir, k SecretKey) {
	s := k.Sign(i.Fingerprint(d))
	if !slices.Contains(i.Signatures, s) {
		i.Signatures = append(slices.Clone(i.Signatures), s)
	}
}

// SignedBy reports whether a key of the ring signed the path info.
func (i *PathInfo) SignedBy(d Dir, ring KeyRing) bool {
	return len(ring) > 0 && ring.VerifyAny(i.Fingerprint(d), i.Signatures)
}

// ContentAddressed reports whether the path follows from its content address,
// which then replaces a signature. It does not look at the content.
func (i *PathInfo) ContentAddressed(d Dir) bool {
	if i.CA.IsZero() {
		return false
	}
	var refs References
	for _, r := range i.References {
		if r == i.Path {
			refs.Self = true
		} else {
			refs.Others = append(refs.Others, r)
		}
	}
	p, err := d.ContentPath(i.Path.Name(), i.CA, refs)
	return err == nil && p == i.Path
}

// Clone returns a copy that shares no slices.
func (i *PathInfo) Clone() *PathInfo {
	c := *i
	c.References = slices.Clone(i.References)
	c.Signatures = slices.Clone(i.Signatures)
	return &c
}

// SortPaths returns the paths in Nix's order without duplicates, in a new slice.
func SortPaths(paths []StorePath) []StorePath {
	s := slices.Clone(paths)
	slices.SortFunc(s, StorePath.Compare)
	return slices.Compact(s)
}
