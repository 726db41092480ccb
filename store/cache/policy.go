package cache

import (
	"fmt"

	"larder/store"
)

// Policy says which path infos are believed.
type Policy struct {
	Keys        store.KeyRing // trusted-public-keys
	RequireSigs bool          // require-sigs
}

// Check reports whether n is acceptable from a cache that is trusted or not. A content-addressed path needs no signature:
// it is checked against its content. A content address that the path does not follow from is refused from anybody
// (wrapping store.ErrCorrupt); a signature that is missing wraps store.ErrBadSignature.
func (p Policy) Check(d store.Dir, trusted bool, n *store.NarInfo) error {
	if !n.CA.IsZero() {
		if !n.ContentAddressed(d) {
			return corruptf("%s does not follow from its content address %s", d.Join(n.Path), n.CA)
		}
		return nil
	}
	if trusted || !p.RequireSigs || n.SignedBy(d, p.Keys) {
		return nil
	}
	return fmt.Errorf("%s: %w (it is %s)", d.Join(n.Path), store.ErrBadSignature, signers(n.Signatures))
}

// CheckRealisation is Check for realisations, which always need a signature.
func (p Policy) CheckRealisation(trusted bool, r *store.Realisation) error {
	if trusted || !p.RequireSigs || r.SignedBy(p.Keys) {
		return nil
	}
	return fmt.Errorf("realisation %s: %w (it is %s)", r.ID, store.ErrBadSignature, signers(r.Signatures))
}

// CheckBuildTrace is CheckRealisation for the newer form.
func (p Policy) CheckBuildTrace(trusted bool, t *store.BuildTrace) error {
	if trusted || !p.RequireSigs || t.SignedBy(p.Keys) {
		return nil
	}
	return fmt.Errorf("build trace entry %s^%s: %w (it is %s)", t.Drv, t.Output, store.ErrBadSignature, signers(t.Signatures))
}

// signers describes who claims to have signed, for an error message.
func signers(sigs []store.Signature) string {
	const most = 4
	switch {
	case len(sigs) == 0:
		return "not signed at all"
	case len(sigs) > most:
		return fmt.Sprintf("signed by %d keys, the first is %q", len(sigs), sigs[0].Name)
	}
	text := "signed by"
	for i, s := range sigs {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf(" %q", s.Name)
	}
	return text
}
