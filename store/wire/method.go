package wire

import (
	"fmt"
	"strings"

	"larder/store"
)

// ContentMethod says how an object that is added is to be addressed by its content.
type ContentMethod struct {
	Method store.Method
	Algo   store.HashAlgo
}

// String is "text:sha256", "fixed:sha1", "fixed:r:sha256" or "fixed:git:sha1".
func (m ContentMethod) String() string {
	switch m.Method {
	case store.Text:
		return "text:" + m.Algo.String()
	case store.Flat:
		return "fixed:" + m.Algo.String()
	case store.Recursive:
		return "fixed:r:" + m.Algo.String()
	case store.Git:
		return "fixed:git:" + m.Algo.String()
	}
	return ""
}

// ParseContentMethod is the inverse of String.
func ParseContentMethod(s string) (ContentMethod, error) {
	for _, p := range []struct {
		prefix string
		method store.Method
	}{{"text:", store.Text}, {"fixed:r:", store.Recursive}, {"fixed:git:", store.Git}, {"fixed:", store.Flat}} {
		name, ok := strings.CutPrefix(s, p.prefix)
		if !ok {
			continue
		}
		algo, err := store.ParseHashAlgo(name)
		if err != nil {
			return ContentMethod{}, err
		}
		if err := p.method.CheckAlgo(algo); err != nil {
			return ContentMethod{}, fmt.Errorf("content-addressing method %q: %w", s, err)
		}
		return ContentMethod{p.method, algo}, nil
	}
	return ContentMethod{}, fmt.Errorf("unknown content-addressing method %.100q, expected one such as fixed:r:sha256", s)
}
