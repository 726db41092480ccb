package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"larder/nar"
	"larder/realiser/result"
	"larder/store"
)

// keeps tells whether a failure of the build leaves its directory. A builtin's
// had a netrc in it, with passwords.
func (b *build) keeps() bool {
	_, ours := b.builtin()
	return (b.opt.KeepFailed || b.Keep) && !ours
}

// keep leaves what a failed build left to who wanted it: the build directory, and
// beside it the outputs, which must never lie at their store paths. Without failure
// it is their registration that is going to fail.
func (b *build) keep(failure *result.BuildError) {
	err := b.scratch.retain(b.user.Identity)
	if err == nil {
		b.kept = b.scratch.build
		if failure != nil {
			err = b.keepOutputs()
			failure.KeptDir = b.kept
			if b.scratch.hasOutputs {
				failure.KeptOutputs = b.scratch.outputs
			}
		}
	}
	if err != nil {
		b.opt.Logger.Warn("not all of a failed build could be kept", "drv", b.Path.String(), "err", err)
	}
}

// keepOutputs moves all that is there of the outputs beside the build directory.
func (b *build) keepOutputs() error {
	var errs []error
	taken := map[store.StorePath]bool{}
	for _, o := range b.result.Outputs {
		p := b.Outputs[o.Name]
		taken[p] = true
		errs = append(errs, b.scratch.save(b.ctx, b.objectPath(o), p.String()))
	}
	for _, p := range b.Outputs {
		if b.storeDir != "" && !taken[p] {
			errs = append(errs, b.scratch.save(b.ctx, filepath.Join(b.storeDir, p.String()), p.String()))
		}
	}
	return errors.Join(errs...)
}

// keepForComparison moves an output to where it can be compared with another, and
// says where; "" if nobody wants that.
func (b *build) keepForComparison(o *Output, p store.StorePath) string {
	if !b.keeps() && b.opt.DiffHook == "" {
		return ""
	}
	name := p.String() + ".check"
	err := b.scratch.retain(b.user.Identity)
	if err == nil {
		err = b.scratch.save(b.ctx, b.objectPath(o), name)
	}
	if err != nil {
		b.opt.Logger.Warn("an output could not be kept for comparison", "path", p.String(), "err", err)
		return ""
	}
	return filepath.Join(b.scratch.outputs, name)
}

// objectPath is where an output lies that has left the builder's store.
func (b *build) objectPath(o *Output) string { return filepath.Join(b.store.ObjectDir(), o.temp) }

// moveTree renames a file or tree, or copies it to another file system. Nothing there
// is no error, and moves nothing.
func moveTree(ctx context.Context, from, to string) (moved bool, err error) {
	// Before that: rename(2) sees that there are two file systems before it sees that there is nothing.
	if _, err := os.Lstat(from); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err = renameTree(from, to); !errors.Is(err, unix.EXDEV) {
		return err == nil, err
	}
	r, w := io.Pipe()
	dumped := make(chan error, 1)
	go func() {
		_, err := nar.Dump(ctx, w, from)
		w.CloseWithError(err) // nil: end of file
		dumped <- err
	}()
	_, err = nar.Restore(ctx, r, to, nar.RestoreOptions{})
	r.CloseWithError(err)
	if failed := <-dumped; failed != nil && !errors.Is(failed, io.ErrClosedPipe) {
		err = failed
	}
	if err != nil {
		return true, fmt.Errorf("copying %s: %w", from, err)
	}
	return true, nil
}

// renameTree renames a file or tree. To move a directory one must be allowed to
// write in it, which its owner may have given up.
func renameTree(from, to string) error {
	err := os.Rename(from, to)
	if !errors.Is(err, os.ErrPermission) {
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
