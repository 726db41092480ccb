package builder

import (
	"context"
	"errors"
	"io"

	"larder/nar"
)

// replace returns a nar.DumpAt that leaves a copy in the place of the output: what
// the hashes are taken of is what is registered.
//
// A builder with the host's network can send open descriptors of its output, over
// an abstract unix socket, to a process outside. Neither the end of the builder nor
// a change of owner and mode takes them away, and whoever has one could change the
// output after its hash was checked. They do not lead to the copy.
func (b *build) replace(o *Output) func(context.Context, io.Writer, int, string) (int64, error) {
	return func(ctx context.Context, w io.Writer, dirfd int, name string) (size int64, err error) {
		temp, err := b.store.NewTemp(ctx)
		if err != nil {
			return 0, err
		}
		r, pipe := io.Pipe()
		dumped := make(chan error, 1)
		go func() {
			_, err := nar.DumpAt(ctx, io.MultiWriter(w, pipe), dirfd, name)
			pipe.CloseWithError(err) // nil: end of file
			dumped <- err
		}()
		size, err = nar.RestoreAt(ctx, r, dirfd, temp, nar.RestoreOptions{Canonical: true})
		r.CloseWithError(err)
		if failed := <-dumped; failed != nil && !errors.Is(failed, io.ErrClosedPipe) {
			err = failed
		}
		o.temp = temp // collect drops it if there is an error
		return size, errors.Join(err, b.store.DropTemp(name))
	}
}
