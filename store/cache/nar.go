package cache

import (
	"context"
	"errors"
	"io"

	"larder/store"
)

// How many chunks are buffered in front of the decoder, and behind it.
const (
	downloadAhead = 64
	decodedAhead  = 16
)

// NAR opens the NAR that n, from [Cache.NarInfo], tells of. The stream is decompressed, and is exactly NarSize bytes long:
// anything else is an error that wraps store.ErrCorrupt, as soon as it is noticed. The hash is not checked. Broken
// connections are resumed inside. The error wraps store.ErrNotFound if the cache does not have the file after all; the
// memory has forgotten the narinfo then.
//
// The context governs the whole stream: when it is done Read fails with its cause. The stream must be closed, and is not
// for concurrent use. It has a method Downloaded() int64, the number of bytes that have come from the cache so far, which
// may be called by anybody at any time.
func (c *Cache) NAR(ctx context.Context, n *store.NarInfo) (io.ReadCloser, error) {
	op := "fetching " + n.URL
	ctx, cancel := context.WithCancel(ctx)
	src, err := c.files.open(ctx, n.URL)
	if errors.Is(err, store.ErrNotFound) {
		c.warn(c.memory.PutNarInfo(context.WithoutCancel(ctx), c.name, c.pathThere(n).Digest(), "", forget))
	}
	if err != nil {
		cancel()
		return nil, c.fail(op, err)
	}
	s := &stream{cache: c, op: op, ctx: ctx, cancel: cancel, src: src, raw: tracked{r: src}}
	decoded := s.decode(n.Compression)
	plain, err := newExactly(decoded, n.NarSize)
	if err != nil {
		s.Close()
		return nil, c.fail(op, err)
	}
	s.decoded = newReadAhead(plain, decodedAhead)
	return s, nil
}

// stream is the NAR as it comes: source → (ahead) → decoder → exactly → (decoded ahead) → consumer.
type stream struct {
	cache  *Cache
	op     string
	ctx    context.Context
	cancel context.CancelFunc

	src     io.ReadCloser
	raw     tracked
	ahead   *readAhead // of src; nil for a file
	decoder *lazyDecoder
	decoded *readAhead
	closed  bool
}

// decode starts the stages up to the decoder.
func (s *stream) decode(compression string) *lazyDecoder {
	s.decoder = &lazyDecoder{compression: compression, src: &s.raw}
	if s.cache.location.file == "" && compression != "none" {
		s.ahead = newReadAhead(&s.raw, downloadAhead)
		s.decoder.src = s.ahead
	}
	return s.decoder
}

// Downloaded is the number of bytes that have come from the cache.
func (s *stream) Downloaded() int64 { return s.raw.count.Load() }

func (s *stream) Read(p []byte) (int, error) {
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	n, err := s.decoded.Read(p)
	if err != nil && err != io.EOF {
		err = s.wrap(err)
	}
	return n, err
}

// wrap makes an error of a stage the error of the stream. If the source failed, that is the reason whatever the decoder
// made of it.
func (s *stream) wrap(err error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if failed := s.raw.failed(); failed != nil {
		err = failed
	}
	return s.cache.fail(s.op, err)
}

// Close ends all stages, from the source on, and waits for them.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.cancel()
	if s.decoded != nil {
		s.decoded.Close()
	}
	s.decoder.Close()
	if s.ahead != nil {
		s.ahead.Close()
	}
	s.src.Close()
	return nil
}
