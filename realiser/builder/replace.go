package builder

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"larder/nar"
	"larder/store"
)

// dumpInto writes the NAR of an output, with rewrites, to w.
func (b *build) dumpInto(ctx context.Context, w io.Writer, o *Output, rewrites map[string]string, dirfd int) (size int64, err error) {
	rewriting := newRewriter(w, rewrites)
	if size, err = nar.DumpAt(ctx, rewriting, dirfd, o.temp); err != nil {
		return size, err
	}
	return size, rewriting.Close()
}

// replace writes the NAR of an output, with rewrites, to w, and leaves a copy of
// just that in the place of the output: what the hashes are taken of is what is
// registered.
func (b *build) replace(w io.Writer, o *Output, rewrites map[string]string, dirfd int) (size int64, err error) {
	temp, err := b.store.NewTemp(b.ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	r, pipe := io.Pipe()
	dumped := make(chan error, 1)
	go func() {
		_, err := b.dumpInto(ctx, io.MultiWriter(w, pipe), o, rewrites, dirfd)
		pipe.CloseWithError(err) // nil: end of file
		dumped <- err
	}()
	size, err = nar.RestoreAt(ctx, r, dirfd, temp, nar.RestoreOptions{Canonical: true})
	r.CloseWithError(err)
	if failed := <-dumped; failed != nil && !errors.Is(failed, io.ErrClosedPipe) {
		err = failed
	}
	original := o.temp
	o.temp = temp // collect drops it if there is an error
	return size, errors.Join(err, b.store.DropTemp(original))
}

// rewrite replaces hash parts in an output, and takes its NAR hash.
func (b *build) rewrite(o *Output, rewrites map[string]string, dirfd int) error {
	sum := sha256.New()
	size, err := b.replace(sum, o, rewrites, dirfd)
	var order *nar.FormatError
	if errors.As(err, &order) {
		// The order of names is part of what was hashed.
		return fmt.Errorf("the name of a file in output '%s' of '%s' has a hash part in it, which can't be replaced by that of the final path: %s",
			o.Name, b.name, order.Reason)
	}
	if err != nil {
		return fmt.Errorf("output '%s' of '%s': %w", o.Name, b.name, err)
	}
	o.Info.NarHash, o.Info.NarSize = store.SumOf(store.SHA256, sum), uint64(size)
	return nil
}

// exposed reports whether the builder had a way to pass on open descriptors of its
// output, over a unix socket, to a process outside. Neither the end of the builder
// nor a change of owner and mode takes them away, and whoever has one could change
// the output after it was hashed. They do not lead to a copy.
func (b *build) exposed() bool { return networked(b.Drv) || b.noChroot || b.shares }
