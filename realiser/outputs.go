package realiser

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
	"larder/sandbox"
	"larder/store"
)

// made is an output that has left the builder's store directory.
type made struct {
	name string
	temp string // its temporary name in the object directory
	info *store.PathInfo
	// mismatch: it is not what a fixed-output derivation promised, and info.Path is
	// the path that it has a right to.
	mismatch *HashMismatchError
}

// collect checks what the builder made and takes the outputs that were absent
// out of its store, ready to be registered.
func (b *build) collect() (res result) {
	defer func() {
		if res.err != nil {
			b.discard()
		}
	}()
	names := slices.Sorted(maps.Keys(b.outputs))
	for _, name := range names {
		if err := b.checkThere(name); err != nil {
			return b.g.failed(OutputRejected, err)
		}
	}
	for _, name := range names {
		if _, absent := b.absent[name]; !absent {
			continue // it is valid, and what the builder made once more is dropped
		}
		o, err := b.take(name)
		if o != nil {
			b.made = append(b.made, o)
		}
		if err != nil {
			return b.g.failed(OutputRejected, err)
		}
	}
	if err := b.checkCycle(b.made); err != nil {
		return b.g.failed(OutputRejected, err)
	}
	return result{status: Built}
}

// discard removes outputs that are not going to be registered.
func (b *build) discard() {
	for _, o := range b.made {
		if err := b.store.DropTemp(o.temp); err != nil {
			b.opt.Logger.Warn("a rejected output could not be removed", "path", o.info.Path.String(), "err", err)
		}
	}
	b.made = nil
}

// register makes the outputs that were collected valid, all at once, and
// completes the result.
func (b *build) register(res result) result {
	adds := make([]store.Addition, len(b.made))
	var err error
	for i, o := range b.made {
		for _, k := range b.opt.SecretKeys {
			o.info.Sign(b.dir, k)
		}
		adds[i] = store.Addition{Info: o.info, Temp: o.temp}
		if o.mismatch != nil { // registered all the same, under the path that is right for it
			err = o.mismatch
		}
	}
	failed := result{}
	if failure := b.store.Register(b.g.ctx, adds...); failure != nil {
		b.discard()
		failed = b.g.failf(MiscFailure, "registering the outputs of '%s': %w", b.name, failure)
	} else if err != nil {
		failed = b.g.failed(OutputRejected, err)
	} else {
		return res
	}
	failed.err.LogPath, failed.err.LastLines = b.log.path, b.log.Tail()
	res.status, res.err = failed.status, failed.err
	return res
}

// checkThere reports an output that the builder did not make.
func (b *build) checkThere(name string) error {
	p := b.outputs[name]
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
func (b *build) take(name string) (*made, error) {
	p := b.outputs[name]
	temp, err := b.store.NewTemp(b.g.ctx)
	if err != nil {
		return nil, err
	}
	o := &made{name: name, temp: temp, info: &store.PathInfo{
		Path: p, Deriver: b.path, Ultimate: true, RegistrationTime: b.opt.Now(),
	}}
	if err := b.move(p, temp); err != nil {
		return o, err
	}
	if err := b.store.Canonicalise(b.g.ctx, temp, b.uid()); err != nil {
		return o, fmt.Errorf("output '%s' of '%s': %w", name, b.name, err)
	}
	if err := b.examine(o); err != nil {
		return o, err
	}
	return o, nil
}

// move renames an output out of the builder's store. To move a directory one
// must be allowed to write in it, which its owner may have given up.
func (b *build) move(p store.StorePath, temp string) error {
	from, to := filepath.Join(b.storeDir, p.String()), filepath.Join(b.store.ObjectDir(), temp)
	err := os.Rename(from, to)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if st, statErr := os.Lstat(from); statErr != nil || !st.IsDir() {
		return err
	}
	// Nobody is left who could make it a symlink now.
	if err := os.Chmod(from, 0o700); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// examine reads the output once: NAR hash and size, references, and the hash
// that a fixed output promises.
func (b *build) examine(o *made) error {
	objects, err := os.Open(b.store.ObjectDir())
	if err != nil {
		return err
	}
	defer objects.Close()
	candidates := slices.Concat(b.inputs, slices.Collect(maps.Values(b.outputs)))
	sum, refs := sha256.New(), newRefScanner(candidates)
	writers := []io.Writer{sum, refs}
	ca := b.drv.Outputs[o.name].CA
	var content hash.Hash
	if ca.Method == store.Recursive {
		content = ca.Hash.Algo().New()
		writers = append(writers, content)
	}
	dump := nar.DumpAt
	if b.fixed() {
		dump = b.replace(o)
	}
	size, err := dump(b.g.ctx, io.MultiWriter(writers...), int(objects.Fd()), o.temp)
	if err != nil {
		return fmt.Errorf("output '%s' of '%s': %w", o.name, b.name, err)
	}
	o.info.NarHash, o.info.NarSize, o.info.References = store.SumOf(store.SHA256, sum), uint64(size), refs.Found()
	if ca.IsZero() {
		return nil
	}
	if content == nil {
		if content, err = b.hashFlat(o, ca, int(objects.Fd())); err != nil {
			return err
		}
	}
	return b.checkFixed(o, ca, store.SumOf(ca.Hash.Algo(), content))
}

// hashFlat takes the hash of the contents of a single file.
func (b *build) hashFlat(o *made, ca store.ContentAddress, dirfd int) (hash.Hash, error) {
	f, err := openPlainFile(dirfd, o.temp)
	if errors.Is(err, errNotPlain) {
		return nil, fmt.Errorf("output path '%s' should be a non-executable regular file since recursive hashing is not enabled (outputHashMode=flat)",
			b.dir.Join(o.info.Path))
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
func (b *build) checkFixed(o *made, ca store.ContentAddress, got store.Hash) error {
	o.info.CA = store.ContentAddress{Method: ca.Method, Hash: got}
	if got == ca.Hash {
		if n := len(o.info.References); n > 0 {
			return fmt.Errorf("fixed-output derivation '%s' must not refer to store paths, but its output refers to %d, such as '%s'",
				b.name, n, b.dir.Join(o.info.References[0]))
		}
		return nil
	}
	o.mismatch = &HashMismatchError{Drv: b.name, Specified: ca.Hash, Got: got}
	if len(o.info.References) > 0 {
		return o.mismatch
	}
	// What was made is good under another name: that saves a second download once the hash is put right.
	p, err := b.dir.ContentPath(b.drv.Name, o.info.CA, store.References{})
	if err != nil {
		return o.mismatch
	}
	o.info.Path = p
	return nil
}
