package program

import (
	"context"
	"io"

	"larder/store"
)

// stream is a NAR on its way from a goroutine that makes it.
type stream struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
	err    error         // why it failed; valid then
}

// newStream starts produce, which writes the NAR of n.
func newStream(ctx context.Context, p *Program, n *store.NarInfo, produce func(context.Context, io.Writer) error) *stream {
	r, w := io.Pipe()
	s := &stream{PipeReader: r, done: make(chan struct{})}
	ctx, s.cancel = context.WithCancel(ctx)
	go func() {
		defer close(s.done)
		err := produce(ctx, w)
		if err != nil {
			err = p.fail(ctx, "fetching "+p.opt.StoreDir.Join(n.Path), err)
		}
		s.err = err
		w.CloseWithError(err) // nil: the end
	}()
	return s
}

// Close ends the program if it is not through, and waits until it is.
func (s *stream) Close() error {
	s.cancel()
	s.PipeReader.Close()
	<-s.done
	return nil
}
