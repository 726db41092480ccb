package content

import (
	"context"
	"fmt"
	"hash"
	"io"

	"larder/nar"
	"larder/nar/git"
	"larder/store"
)

// ErrNoObject: something has no object of git's that it could be.
var ErrNoObject = git.ErrNoObject

// OverNAR starts the hash of a content address that is taken of the NAR as it goes
// by. It is nil if the method hashes something else: then [Of] takes it when the
// object is there. Occurrences of self, the hash part of the object's own path or
// of the one where it was made, do not count; "" if there are none.
func OverNAR(m store.Method, a store.HashAlgo, self string) hash.Hash {
	if m != store.Recursive {
		return nil
	}
	return start(a, self)
}

func start(a store.HashAlgo, self string) hash.Hash {
	if self == "" {
		return a.New()
	}
	return NewModulo(a.New(), self)
}

// Of takes the hash of a content address, by any method, of the object called name
// in the open directory dirfd. self is as in OverNAR. The error wraps [ErrNotPlain]
// or [ErrNoObject] if the method can't hash such an object.
func Of(ctx context.Context, dirfd int, name string, m store.Method, a store.HashAlgo, self string) (store.Hash, error) {
	if err := m.CheckAlgo(a); err != nil {
		return store.Hash{}, err
	}
	switch m {
	case store.Recursive:
		h := start(a, self)
		if _, err := nar.DumpAt(ctx, h, dirfd, name); err != nil {
			return store.Hash{}, err
		}
		return store.SumOf(a, h), nil
	case store.Git:
		id, err := git.ObjectIDAt(ctx, dirfd, name, a.New)
		if err != nil {
			return store.Hash{}, err
		}
		return store.NewHash(a, id)
	case store.Flat, store.Text:
		return ofFile(dirfd, name, a, self)
	}
	return store.Hash{}, fmt.Errorf("content-addressing method %d is unknown", m)
}

// ofFile takes the hash of the contents of a single file.
func ofFile(dirfd int, name string, a store.HashAlgo, self string) (store.Hash, error) {
	f, err := OpenPlainFile(dirfd, name)
	if err != nil {
		return store.Hash{}, err
	}
	defer f.Close()
	h := start(a, self)
	if _, err := io.Copy(h, f); err != nil {
		return store.Hash{}, err
	}
	return store.SumOf(a, h), nil
}
