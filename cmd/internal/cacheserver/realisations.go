package cacheserver

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"larder/store"
	"larder/store/derivation"
)

// Realisations is what the store that is served knows of outputs whose paths derivations do not say. Errors that match
// store.ErrNotFound or store.ErrNotValid say that it knows nothing.
type Realisations interface {
	Realisation(ctx context.Context, id store.DrvOutput) (*store.Realisation, error)
	Derivation(ctx context.Context, drv store.StorePath) (*derivation.Derivation, error)
	// Outputs are the outputs of a derivation whose paths are known.
	Outputs(ctx context.Context, drv store.StorePath) (map[string]store.StorePath, error)
}

// realisation answers with realisations/<id>.doi.
func (s *Store) realisation(w http.ResponseWriter, r *http.Request, name string) error {
	name, ok := strings.CutSuffix(name, ".doi")
	id, err := store.ParseDrvOutput(name)
	if !ok || err != nil {
		return store.ErrNotFound
	}
	known, err := s.Objects.Realisation(r.Context(), id)
	if err != nil {
		return err
	}
	signed := *known
	signed.Signatures = signed.Signatures[:len(signed.Signatures):len(signed.Signatures)]
	for _, k := range s.Keys {
		signed.Signatures = append(signed.Signatures, k.Sign(signed.Fingerprint()))
	}
	body, err := json.Marshal(signed)
	if err != nil {
		return err
	}
	return text(w, typeListing, string(body))
}

// buildTrace answers with build-trace-v2/<drv>/<output>.doi, which there is of derivations without input derivations.
func (s *Store) buildTrace(w http.ResponseWriter, r *http.Request, name string) error {
	base, output, _ := strings.Cut(name, "/")
	output, ok := strings.CutSuffix(output, ".doi")
	drv, err := store.ParseStorePath(base)
	if !ok || err != nil || !drv.IsDerivation() {
		return store.ErrNotFound
	}
	parsed, err := s.Objects.Derivation(r.Context(), drv)
	if err != nil {
		return err
	}
	if parsed.Kind() != derivation.FloatingCA || len(parsed.InputDrvs) > 0 {
		return store.ErrNotFound
	}
	outputs, err := s.Objects.Outputs(r.Context(), drv)
	if err != nil {
		return err
	}
	p, known := outputs[output]
	if !known {
		return store.ErrNotFound
	}
	t := &store.BuildTrace{Drv: drv, Output: output, OutPath: p}
	for _, k := range s.Keys {
		t.Signatures = append(t.Signatures, k.Sign(t.Fingerprint()))
	}
	body, err := t.Text()
	if err != nil {
		return err
	}
	return text(w, typeListing, string(body))
}
