package builder

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"larder/nar"
	"larder/realiser/content"
	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
)

// collect checks what the builder made and takes the outputs that were absent
// out of its store, ready to be registered.
func (b *build) collect() *result.BuildError {
	if err := b.takeAll(); err != nil {
		return b.failed(result.OutputRejected, err)
	}
	return nil
}

func (b *build) takeAll() error {
	names := slices.Sorted(maps.Keys(b.Outputs))
	for _, name := range names {
		if err := b.checkThere(name); err != nil {
			return err
		}
	}
	for _, name := range names {
		if !b.takes(name) {
			continue
		}
		o, err := b.take(name)
		if o != nil {
			b.result.Outputs = append(b.result.Outputs, o)
		}
		if err != nil {
			return err
		}
	}
	return b.checkCycle(b.result.Outputs)
}

// checkThere reports an output that the builder did not make.
func (b *build) checkThere(name string) error {
	p := b.Outputs[name]
	_, err := os.Lstat(filepath.Join(b.storeDir, p.String()))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("builder for '%s' failed to produce output path for output '%s' at '%s'", b.name, name, b.dir.Join(p))
	}
	return err
}

// uid is who owns what the builder made.
func (b *build) uid() int {
	if b.user.UID == sandbox.CallingUser {
		return os.Geteuid()
	}
	return b.user.UID
}

// take moves an output to a temporary name of its own, makes it canonical, and
// finds out what there is to know about it. The output is returned whenever
// something may lie at its temporary name.
func (b *build) take(name string) (*Output, error) {
	p := b.Outputs[name]
	temp, err := b.store.NewTemp(b.ctx)
	if err != nil {
		return nil, err
	}
	o := &Output{Name: name, temp: temp, Info: &store.PathInfo{
		Path: p, Deriver: b.Path, Ultimate: true, RegistrationTime: b.opt.Now(),
	}}
	if err := b.move(p, temp); err != nil {
		return o, err
	}
	if err := b.store.Canonicalise(b.ctx, temp, b.uid()); err != nil {
		return o, fmt.Errorf("output '%s' of '%s': %w", name, b.name, err)
	}
	if err := b.examine(o); err != nil {
		return o, err
	}
	return o, nil
}

// move renames an output out of the builder's store.
func (b *build) move(p store.StorePath, temp string) error {
	from, to := filepath.Join(b.storeDir, p.String()), filepath.Join(b.store.ObjectDir(), temp)
	return renameTree(from, to)
}

// examine reads the output once: NAR hash and size, references, and the hash
// that a fixed output promises.
func (b *build) examine(o *Output) error {
	objects, err := os.Open(b.store.ObjectDir())
	if err != nil {
		return err
	}
	defer objects.Close()
	candidates := slices.Concat(b.Inputs, slices.Collect(maps.Values(b.Outputs)))
	sum, refs := sha256.New(), newRefScanner(candidates)
	writers := []io.Writer{sum, refs}
	ca := b.Drv.Outputs[o.Name].CA
	var promised hash.Hash
	if ca.Method == store.Recursive {
		promised = ca.Hash.Algo().New()
		writers = append(writers, promised)
	}
	dump := nar.DumpAt
	if b.fixed() {
		dump = b.replace(o)
	}
	size, err := dump(b.ctx, io.MultiWriter(writers...), int(objects.Fd()), o.temp)
	if err != nil {
		return fmt.Errorf("output '%s' of '%s': %w", o.Name, b.name, err)
	}
	o.Info.NarHash, o.Info.NarSize, o.Info.References = store.SumOf(store.SHA256, sum), uint64(size), refs.Found()
	if ca.IsZero() {
		return nil
	}
	if promised == nil {
		if promised, err = b.hashFlat(o, ca, int(objects.Fd())); err != nil {
			return err
		}
	}
	return b.checkFixed(o, ca, store.SumOf(ca.Hash.Algo(), promised))
}

// hashFlat takes the hash of the contents of a single file.
func (b *build) hashFlat(o *Output, ca store.ContentAddress, dirfd int) (hash.Hash, error) {
	f, err := content.OpenPlainFile(dirfd, o.temp)
	if errors.Is(err, content.ErrNotPlain) {
		return nil, fmt.Errorf("output path '%s' should be a non-executable regular file since recursive hashing is not enabled (outputHashMode=flat)",
			b.dir.Join(o.Info.Path))
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := ca.Hash.Algo().New()
	_, err = io.Copy(h, f)
	return h, err
}

// checkFixed compares a fixed output with what was promised.
func (b *build) checkFixed(o *Output, ca store.ContentAddress, got store.Hash) error {
	o.Info.CA = store.ContentAddress{Method: ca.Method, Hash: got}
	if got == ca.Hash {
		if n := len(o.Info.References); n > 0 {
			return fmt.Errorf("fixed-output derivation '%s' must not refer to store paths, but its output refers to %d, such as '%s'",
				b.name, n, b.dir.Join(o.Info.References[0]))
		}
		return nil
	}
	o.mismatch = &result.HashMismatchError{Drv: b.name, Specified: ca.Hash, Got: got}
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
