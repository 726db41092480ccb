package store

import "time"

// PathInfoJSON is an element of the list that `nix path-info --json` prints, in
// the form and order of Nix 2.8. Which fields are there depends on what is known
// and what was asked for; pass it to encoding/json.
type PathInfoJSON struct {
	Path                string   `json:"path"`
	Valid               *bool    `json:"valid,omitempty"` // only ever false: then nothing else is there
	NarHash             string   `json:"narHash,omitempty"`
	NarSize             uint64   `json:"narSize,omitempty"`
	References          []string `json:"references,omitzero"`
	CA                  string   `json:"ca,omitempty"`
	ClosureSize         uint64   `json:"closureSize,omitempty"` // for the caller to set: --closure-size
	Deriver             string   `json:"deriver,omitempty"`
	RegistrationTime    int64    `json:"registrationTime,omitempty"` // seconds since 1970
	Ultimate            bool     `json:"ultimate,omitempty"`
	Signatures          []string `json:"signatures,omitempty"`
	URL                 string   `json:"url,omitempty"` // this and the rest: binary caches only
	DownloadHash        string   `json:"downloadHash,omitempty"`
	DownloadSize        uint64   `json:"downloadSize,omitempty"`
	ClosureDownloadSize uint64   `json:"closureDownloadSize,omitempty"` // for the caller to set
}

// JSON is the form of a valid path.
func (i *PathInfo) JSON(d Dir) PathInfoJSON {
	j := PathInfoJSON{
		Path:       d.Join(i.Path),
		NarHash:    i.NarHash.Text(SRI),
		NarSize:    i.NarSize,
		References: []string{},
		CA:         i.CA.String(),
		Ultimate:   i.Ultimate,
		Signatures: signatureTexts(i.Signatures),
	}
	for _, r := range SortPaths(i.References) {
		j.References = append(j.References, d.Join(r))
	}
	if !i.Deriver.IsZero() {
		j.Deriver = d.Join(i.Deriver)
	}
	if !i.RegistrationTime.IsZero() {
		j.RegistrationTime = i.RegistrationTime.Unix()
	}
	return j
}

// JSON is the form of a path in a binary cache.
func (n *NarInfo) JSON(d Dir) PathInfoJSON {
	j := n.PathInfo.JSON(d)
	j.URL = n.URL
	if !n.FileHash.IsZero() {
		j.DownloadHash = n.FileHash.Text(SRI)
	}
	j.DownloadSize = n.FileSize
	return j
}

// InvalidPathJSON is the form of a path that is not valid.
func InvalidPathJSON(d Dir, p StorePath) PathInfoJSON {
	return PathInfoJSON{Path: d.Join(p), Valid: new(bool)}
}

// PathInfo is the inverse of [PathInfo.JSON]. It returns ErrNotValid, wrapped,
// for a path that is not valid.
func (j PathInfoJSON) PathInfo(d Dir) (*PathInfo, error) {
	i := &PathInfo{NarSize: j.NarSize, Ultimate: j.Ultimate}
	var err error
	if i.Path, err = d.Parse(j.Path); err != nil {
		return nil, err
	}
	if j.Valid != nil && !*j.Valid {
		return nil, &PathError{Op: "read path info of", Path: i.Path, Err: ErrNotValid}
	}
	if i.NarHash, err = ParseHash(j.NarHash, SHA256); err != nil {
		return nil, err
	}
	for _, r := range j.References {
		p, err := d.Parse(r)
		if err != nil {
			return nil, err
		}
		i.References = append(i.References, p)
	}
	if j.Deriver != "" {
		if i.Deriver, err = d.Parse(j.Deriver); err != nil {
			return nil, err
		}
	}
	if i.CA, err = ParseContentAddress(j.CA); err != nil {
		return nil, err
	}
	for _, s := range j.Signatures {
		sig, err := ParseSignature(s)
		if err != nil {
			return nil, err
		}
		i.Signatures = append(i.Signatures, sig)
	}
	if j.RegistrationTime != 0 {
		i.RegistrationTime = time.Unix(j.RegistrationTime, 0)
	}
	return i, nil
}
