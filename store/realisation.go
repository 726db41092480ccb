package store

import (
	"encoding/json"
	"strings"
)

// DrvOutput names an output of a derivation by the hash of that derivation
// modulo fixed outputs. It is comparable.
type DrvOutput struct {
	DrvHash Hash
	Output  string
}

// ParseDrvOutput parses "sha256:<base16>!<output>".
func ParseDrvOutput(s string) (DrvOutput, error) {
	h, out, ok := strings.Cut(s, "!")
	if !ok || !strings.Contains(h, ":") {
		return DrvOutput{}, syntaxError("derivation output", s, "expected ALGORITHM:DIGEST!OUTPUT")
	}
	if err := CheckName(out); err != nil {
		return DrvOutput{}, err
	}
	hash, err := ParseHash(h, 0)
	if err != nil {
		return DrvOutput{}, err
	}
	return DrvOutput{hash, out}, nil
}

func (o DrvOutput) String() string { return o.DrvHash.Text(Base16) + "!" + o.Output }

// MarshalText is String; it makes DrvOutput usable as a JSON key.
func (o DrvOutput) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (o *DrvOutput) UnmarshalText(b []byte) error {
	p, err := ParseDrvOutput(string(b))
	if err == nil {
		*o = p
	}
	return err
}

// Realisation says which store path a derivation output turned out to be. Its
// JSON form is what Nix keeps in a binary cache as realisations/<id>.doi.
type Realisation struct {
	ID           DrvOutput
	OutPath      StorePath
	Signatures   []Signature
	Dependencies map[DrvOutput]StorePath // the realisations of its inputs that it was built with
}

type realisationJSON struct {
	Dependencies map[DrvOutput]StorePath `json:"dependentRealisations"`
	ID           DrvOutput               `json:"id"`
	OutPath      StorePath               `json:"outPath"`
	Signatures   *[]string               `json:"signatures,omitempty"`
}

// MarshalJSON prints keys in Nix's order, without white space.
func (r Realisation) MarshalJSON() ([]byte, error) {
	sigs := signatureTexts(r.Signatures)
	j := realisationJSON{Dependencies: r.Dependencies, ID: r.ID, OutPath: r.OutPath, Signatures: &sigs}
	if j.Dependencies == nil {
		j.Dependencies = map[DrvOutput]StorePath{}
	}
	return json.Marshal(j)
}

// UnmarshalJSON is the inverse of MarshalJSON; it takes the singular "signature" of
// older Nix too, and the structured signatures of newer. Those that can't be parsed
// are left out, as in a narinfo.
func (r *Realisation) UnmarshalJSON(b []byte) error {
	var j struct {
		Dependencies map[DrvOutput]StorePath `json:"dependentRealisations"`
		ID           DrvOutput               `json:"id"`
		OutPath      StorePath               `json:"outPath"`
		Signatures   []json.RawMessage       `json:"signatures"`
		Signature    json.RawMessage         `json:"signature"`
	}
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	if j.ID.Output == "" || j.OutPath.IsZero() {
		return syntaxError("realisation", string(b), "it needs id and outPath")
	}
	if len(j.Signatures) > MaxSignatures {
		return syntaxError("realisation", j.ID.String(), "too many signatures")
	}
	*r = Realisation{ID: j.ID, OutPath: j.OutPath, Dependencies: j.Dependencies}
	for _, raw := range append(j.Signatures, j.Signature) {
		if s, err := parseJSONSignature(raw); err == nil {
			r.Signatures = append(r.Signatures, s)
		}
	}
	return nil
}

// Fingerprint is the text that signatures of a realisation sign: its JSON
// without the signatures.
func (r Realisation) Fingerprint() string {
	deps := r.Dependencies
	if deps == nil {
		deps = map[DrvOutput]StorePath{}
	}
	b, err := json.Marshal(realisationJSON{Dependencies: deps, ID: r.ID, OutPath: r.OutPath})
	if err != nil {
		panic(err) // strings only: can't fail
	}
	return string(b)
}

// SignedBy reports whether a key of the ring signed the realisation.
func (r Realisation) SignedBy(ring KeyRing) bool {
	return len(ring) > 0 && ring.VerifyAny(r.Fingerprint(), r.Signatures)
}
