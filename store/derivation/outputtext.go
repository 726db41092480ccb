package derivation

import (
	"errors"
	"fmt"

	"larder/store"
)

// ParseOutput makes sense of the three strings that describe an output in an
// ATerm, and in Nix's daemon protocol: its path, the method and algorithm of its
// hash, and the hash.
func ParseOutput(d store.Dir, path, algo, hash string) (o Output, err error) {
	if path != "" {
		if o.Path, err = d.Parse(path); err != nil {
			return o, err
		}
	}
	if algo == "" {
		if hash != "" {
			return o, errors.New("an output with a hash but no algorithm")
		}
		return o, nil
	}
	method, a, err := parseMethodAlgo(algo)
	switch {
	case err != nil:
		return o, err
	case hash == "" || hash == "impure":
		o.Method, o.HashAlgo, o.Impure = method, a, hash == "impure"
		return o, nil
	}
	h, err := store.ParseHash(hash, a)
	if err != nil {
		return o, err
	}
	if h.Encode(store.Base16) != hash {
		return o, fmt.Errorf("hash %q is not in lower-case base 16", hash)
	}
	o.CA = store.ContentAddress{Method: method, Hash: h}
	return o, nil
}

// Texts is the inverse of [ParseOutput].
func (o Output) Texts(d store.Dir) (path, algo, hash string) {
	if !o.Path.IsZero() {
		path = d.Join(o.Path)
	}
	switch o.Kind() {
	case FixedOutput:
		return path, methodAlgo(o.CA.Method, o.CA.Hash.Algo()), o.CA.Hash.Encode(store.Base16)
	case FloatingCA:
		return path, methodAlgo(o.Method, o.HashAlgo), ""
	case Impure:
		return path, methodAlgo(o.Method, o.HashAlgo), "impure"
	}
	return path, "", ""
}
