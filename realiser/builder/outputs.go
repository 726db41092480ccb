package builder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
)

// collect takes what the builder made out of its store, ready to be registered,
// except for outputs that are valid already: those are dropped.
func (b *build) collect() *result.BuildError {
	if err := b.takeAll(); err != nil {
		return b.failed(rejection(err), err)
	}
	return nil
}

// rejection is the status of a build whose outputs could not be taken: whether it
// is the builder's fault, or the machine's.
func rejection(err error) result.Status {
	is := func(e unix.Errno) bool { return errors.Is(err, e) }
	switch {
	case is(unix.ENOSPC), is(unix.EDQUOT):
		return result.TransientFailure
	case is(unix.EIO), is(unix.EROFS), is(unix.EMFILE), is(unix.ENFILE), is(unix.ENOMEM), errors.Is(err, context.Canceled):
		return result.MiscFailure
	}
	return result.OutputRejected
}

func (b *build) takeAll() (err error) {
	names := slices.Sorted(maps.Keys(b.Outputs))
	for _, name := range names {
		if err := b.checkThere(name); err != nil {
			return err
		}
	}
	for _, name := range names {
		if !b.takes(name) {
			continue // it is valid, and what the builder made once more is dropped
		}
		o, err := b.take(name)
		if o != nil {
			b.result.Outputs = append(b.result.Outputs, o)
		}
		if err != nil {
			return err
		}
	}
	ordered, err := b.inOrder(b.result.Outputs)
	if err != nil {
		return err
	}
	if err := b.settleAll(ordered); err != nil {
		return err
	}
	return b.checkOutputs()
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
		return o, fmt.Errorf("output '%s' of '%s': %w", name, b.name, b.inPlace(err, o))
	}
	if err := b.examine(o); err != nil {
		return o, err
	}
	return o, nil
}

// inPlace names the file that an error is about as the builder did.
func (b *build) inPlace(err error, o *Output) error {
	var at *fs.PathError
	if !errors.As(err, &at) {
		return err
	}
	rest, below := strings.CutPrefix(at.Path, b.objectPath(o))
	if !below {
		return err
	}
	return fmt.Errorf("'%s': %w", b.dir.Join(o.Info.Path)+rest, at.Err)
}

// move renames an output out of the builder's store.
func (b *build) move(p store.StorePath, temp string) error {
	from, to := filepath.Join(b.storeDir, p.String()), filepath.Join(b.store.ObjectDir(), temp)
	return renameTree(from, to)
}
