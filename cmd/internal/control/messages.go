package control

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
)

// ParseDerivation parses a derivation in either form: JSON if it begins with a brace, else ATerm. The name, without .drv, is
// for texts that do not say theirs.
func ParseDerivation(d store.Dir, name string, text []byte) (*derivation.Derivation, error) {
	if !IsJSON(text) {
		return derivation.Parse(d, name, text)
	}
	var own struct{ Name string }
	if json.Unmarshal(text, &own) == nil && own.Name != "" { // else FromJSON says what is wrong
		name = own.Name
	}
	return derivation.FromJSON(d, name, text)
}

// DrvName is the name of a derivation: that of its path without .drv.
func DrvName(p store.StorePath) string { return strings.TrimSuffix(p.Name(), ".drv") }

// IsJSON reports whether the text of a derivation is meant to be JSON.
func IsJSON(text []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) }

// PathInfo is store.PathInfo in the JSON of `nix path-info --json`.
type PathInfo struct {
	CA               string   `json:"ca,omitempty"`
	Deriver          string   `json:"deriver,omitempty"`
	NarHash          string   `json:"narHash"`
	NarSize          uint64   `json:"narSize"`
	Path             string   `json:"path"`
	References       []string `json:"references"`
	RegistrationTime int64    `json:"registrationTime,omitempty"`
	Signatures       []string `json:"signatures,omitempty"`
	Ultimate         bool     `json:"ultimate,omitempty"`
}

// NewPathInfo makes the JSON form. Paths are absolute in it.
func NewPathInfo(d store.Dir, i *store.PathInfo) PathInfo {
	j := PathInfo{CA: i.CA.String(), NarHash: i.NarHash.Text(store.SRI), NarSize: i.NarSize, Path: d.Join(i.Path),
		References: []string{}, Ultimate: i.Ultimate}
	if !i.Deriver.IsZero() {
		j.Deriver = d.Join(i.Deriver)
	}
	for _, r := range i.References {
		j.References = append(j.References, d.Join(r))
	}
	for _, s := range i.Signatures {
		j.Signatures = append(j.Signatures, s.String())
	}
	if !i.RegistrationTime.IsZero() {
		j.RegistrationTime = i.RegistrationTime.Unix()
	}
	return j
}

// Parse is the inverse of NewPathInfo.
func (j *PathInfo) Parse(d store.Dir) (i *store.PathInfo, err error) {
	i = &store.PathInfo{NarSize: j.NarSize, Ultimate: j.Ultimate}
	if i.Path, err = d.Parse(j.Path); err != nil {
		return nil, err
	}
	if i.NarHash, err = store.ParseHash(j.NarHash, store.SHA256); err != nil {
		return nil, err
	}
	if j.Deriver != "" {
		if i.Deriver, err = d.Parse(j.Deriver); err != nil {
			return nil, err
		}
	}
	if i.CA, err = store.ParseContentAddress(j.CA); err != nil {
		return nil, err
	}
	for _, r := range j.References {
		p, err := d.Parse(r)
		if err != nil {
			return nil, err
		}
		i.References = append(i.References, p)
	}
	for _, text := range j.Signatures {
		s, err := store.ParseSignature(text)
		if err != nil {
			return nil, err
		}
		i.Signatures = append(i.Signatures, s)
	}
	if j.RegistrationTime != 0 {
		i.RegistrationTime = time.Unix(j.RegistrationTime, 0)
	}
	return i, nil
}

// Requests and answers on the wire.
type (
	realiseBody struct {
		Targets    []string      `json:"targets"`
		Mode       realiser.Mode `json:"mode,omitempty"`
		KeepGoing  bool          `json:"keepGoing,omitempty"`
		Rounds     int           `json:"rounds,omitempty"`
		KeepFailed bool          `json:"keepFailed,omitempty"`
	}
	queryBody struct {
		Relation Relation          `json:"relation"`
		Paths    []store.StorePath `json:"paths"`
	}
	pathsBody struct {
		Paths []store.StorePath `json:"paths"`
	}
	countBody struct {
		Count int `json:"count"`
	}
	rootBody struct {
		Link string `json:"link"`
	}
	pathBody struct {
		Path store.StorePath `json:"path"`
	}
	none struct{}

	// line is one line of a stream; exactly one member is there.
	line struct {
		Event  *realiser.Event `json:"event,omitempty"`
		Result *outcomeBody    `json:"result,omitempty"`
		Error  *errorBody      `json:"error,omitempty"`
	}
	outcomeBody struct {
		Results []resultBody `json:"results"`
	}
	resultBody struct {
		Target    string                     `json:"target"`
		Status    result.Status              `json:"status"`
		Outputs   map[string]store.StorePath `json:"outputs,omitempty"`
		Error     *errorBody                 `json:"error,omitempty"`
		Start     time.Time                  `json:"start,omitzero"`
		Stop      time.Time                  `json:"stop,omitzero"`
		CPUUser   time.Duration              `json:"cpuUser,omitempty"` // nanoseconds
		CPUSystem time.Duration              `json:"cpuSystem,omitempty"`
	}
)

func parseTargets(list []string) ([]realiser.Target, error) {
	targets := make([]realiser.Target, 0, len(list))
	for _, s := range list {
		t, err := realiser.ParseTarget(s)
		if err != nil {
			return nil, badRequest("target: %w", err)
		}
		targets = append(targets, t)
	}
	return targets, nil
}

func printTargets(targets []realiser.Target) []string {
	list := make([]string, 0, len(targets))
	for _, t := range targets {
		list = append(list, t.String())
	}
	return list
}

func encodeOutcome(o *realiser.Outcome) *outcomeBody {
	b := &outcomeBody{Results: []resultBody{}}
	for _, r := range o.Results {
		b.Results = append(b.Results, resultBody{Target: r.Target.String(), Status: r.Status, Outputs: r.Outputs, Error: encodeError(r.Err),
			Start: r.Start, Stop: r.Stop, CPUUser: r.CPUUser, CPUSystem: r.CPUSystem})
	}
	return b
}

func (b *outcomeBody) decode() (*realiser.Outcome, error) {
	o := &realiser.Outcome{}
	for _, r := range b.Results {
		t, err := realiser.ParseTarget(r.Target)
		if err != nil {
			return nil, err
		}
		o.Results = append(o.Results, realiser.BuildResult{Target: t, Status: r.Status, Outputs: r.Outputs, Err: r.Error.decode(),
			Start: r.Start, Stop: r.Stop, CPUUser: r.CPUUser, CPUSystem: r.CPUSystem})
	}
	return o, nil
}
