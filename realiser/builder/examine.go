package builder

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"larder/realiser/content"
	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
)

// method is how the content address of an output is taken; 0 if it has none.
func (b *build) method(output string) (store.Method, store.HashAlgo) {
	o := b.Drv.Outputs[output]
	if !o.CA.IsZero() {
		return o.CA.Method, o.CA.Hash.Algo()
	}
	return o.Method, o.HashAlgo
}

// floating reports whether the paths of the outputs follow from their contents.
func (b *build) floating() bool {
	k := b.Drv.Kind()
	return k == derivation.FloatingCA || k == derivation.Impure
}

// examine reads the output once: NAR hash and size, references, and the hash of
// its content address if that is one of the NAR.
func (b *build) examine(o *Output) error {
	objects, err := os.Open(b.store.ObjectDir())
	if err != nil {
		return err
	}
	defer objects.Close()
	dirfd := int(objects.Fd())
	refs := newRefScanner(slices.Concat(b.Inputs, slices.Collect(maps.Values(b.Outputs))))
	sum := sha256.New()
	writers := []io.Writer{refs}
	method, algo := b.method(o.Name)
	own := content.OverNAR(method, algo, b.Outputs[o.Name].HashPart())
	switch {
	case own != nil && algo == store.SHA256 && b.floating():
		// The same as the NAR's, except if the output refers to itself; then it is
		// rewritten, and its NAR hashed again.
		sum = own
	case own != nil:
		writers = append(writers, own)
	}
	w := io.MultiWriter(append(writers, sum)...)
	var size int64
	if b.exposed() {
		size, err = b.replace(w, o, nil, dirfd)
	} else {
		size, err = b.dumpInto(b.ctx, w, o, nil, dirfd)
	}
	if err != nil {
		return fmt.Errorf("output '%s' of '%s': %w", o.Name, b.name, err)
	}
	o.mentions = refs.Found()
	o.Info.NarHash, o.Info.NarSize = store.SumOf(store.SHA256, sum), uint64(size)
	if !b.Asks.DiscardReferences(o.Name) {
		o.Info.References = o.mentions
	}
	if own != nil {
		o.content = store.SumOf(algo, own)
	}
	if b.fixed() {
		return b.checkFixed(o, dirfd)
	}
	return nil
}

// hashContent takes the hash of an output's content address, if examine did not.
func (b *build) hashContent(o *Output, dirfd int) (store.Hash, error) {
	if !o.content.IsZero() {
		return o.content, nil
	}
	method, algo := b.method(o.Name)
	made := b.Outputs[o.Name]
	h, err := content.Of(b.ctx, dirfd, o.temp, method, algo, made.HashPart())
	switch {
	case errors.Is(err, content.ErrNotPlain):
		return h, fmt.Errorf("output path '%s' should be a non-executable regular file since recursive hashing is not enabled (outputHashMode=%s)", b.dir.Join(made), method)
	case err != nil:
		return h, fmt.Errorf("output path '%s' (outputHashMode=%s): %w", b.dir.Join(made), method, err)
	}
	return h, nil
}

// checkFixed compares a fixed output with what was promised.
func (b *build) checkFixed(o *Output, dirfd int) error {
	promised := b.Drv.Outputs[o.Name].CA
	got, err := b.hashContent(o, dirfd)
	if err != nil {
		return err
	}
	o.Info.CA = store.ContentAddress{Method: promised.Method, Hash: got}
	if got == promised.Hash {
		if n := len(o.Info.References); n > 0 {
			return fmt.Errorf("fixed-output derivation '%s' must not refer to store paths, but its output refers to %d, such as '%s'",
				b.name, n, b.dir.Join(o.Info.References[0]))
		}
		return nil
	}
	o.mismatch = &result.HashMismatchError{Drv: b.name, Specified: promised.Hash, Got: got}
	if len(o.Info.References) > 0 {
		return o.mismatch
	}
	// What was made is good under another name: that saves a second download once the hash is put right.
	p, err := b.dir.ContentPath(b.Drv.Name, o.Info.CA, store.References{})
	if err != nil {
		return o.mismatch
	}
	o.Info.Path = p
	return nil
}
