package store

import (
	"encoding/base64"
	"encoding/json"
)

// BuildTrace is the newer form of a realisation (Nix 2.35, manual: "Build Trace
// Entry"): what an output of a resolved derivation turned out to be, by the
// derivation's path and without what it was built with. A binary cache keeps it as
// build-trace-v2/<drv>/<output>.doi, whose text is all but the key.
type BuildTrace struct {
	Drv        StorePath
	Output     string
	OutPath    StorePath
	Signatures []Signature
}

type buildTraceJSON struct {
	OutPath    StorePath         `json:"outPath"`
	Signatures []json.RawMessage `json:"signatures"`
}

type structuredSignature struct {
	KeyName string `json:"keyName"`
	Sig     string `json:"sig"`
}

// ParseBuildTrace reads the text of an entry. Signatures may be structured or
// "name:base64"; those that can't be parsed are left out.
func ParseBuildTrace(drv StorePath, output string, text []byte) (*BuildTrace, error) {
	var j buildTraceJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return nil, err
	}
	t := &BuildTrace{Drv: drv, Output: output, OutPath: j.OutPath}
	if j.OutPath.IsZero() {
		return nil, syntaxError("build trace entry", drv.String()+"^"+output, "it needs outPath")
	}
	if len(j.Signatures) > MaxSignatures {
		return nil, syntaxError("build trace entry", drv.String()+"^"+output, "too many signatures")
	}
	for _, raw := range j.Signatures {
		if s, err := parseJSONSignature(raw); err == nil {
			t.Signatures = append(t.Signatures, s)
		}
	}
	return t, nil
}

// parseJSONSignature takes both forms: structured and "name:base64".
func parseJSONSignature(raw json.RawMessage) (Signature, error) {
	var text string
	var parts structuredSignature
	if json.Unmarshal(raw, &text) != nil && json.Unmarshal(raw, &parts) == nil {
		text = parts.KeyName + ":" + parts.Sig
	}
	return ParseSignature(text)
}

// Text is the inverse of ParseBuildTrace.
func (t *BuildTrace) Text() ([]byte, error) {
	j := buildTraceJSON{OutPath: t.OutPath, Signatures: []json.RawMessage{}}
	for _, s := range t.Signatures {
		raw, err := json.Marshal(structuredSignature{s.Name, base64.StdEncoding.EncodeToString(s.Data[:])})
		if err != nil {
			return nil, err
		}
		j.Signatures = append(j.Signatures, raw)
	}
	return json.Marshal(j)
}

// Fingerprint is the text that signatures sign: key and path as JSON.
func (t *BuildTrace) Fingerprint() string {
	var j struct {
		Key struct {
			DrvPath    StorePath `json:"drvPath"`
			OutputName string    `json:"outputName"`
		} `json:"key"`
		Value struct {
			OutPath StorePath `json:"outPath"`
		} `json:"value"`
	}
	j.Key.DrvPath, j.Key.OutputName, j.Value.OutPath = t.Drv, t.Output, t.OutPath
	b, err := json.Marshal(j)
	if err != nil {
		panic(err) // strings only: can't fail
	}
	return string(b)
}

// SignedBy reports whether a key of the ring signed the entry.
func (t *BuildTrace) SignedBy(ring KeyRing) bool {
	return len(ring) > 0 && ring.VerifyAny(t.Fingerprint(), t.Signatures)
}
