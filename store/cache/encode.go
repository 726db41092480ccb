package cache

import (
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/dsnet/compress/bzip2"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// encoding is a compression that can be written.
type encoding struct {
	suffix         string // of a NAR's file name
	low, high, std int    // levels
	open           func(w io.Writer, level int) (io.WriteCloser, error)
}

var encoders = map[string]encoding{
	"none":  {"", 0, 0, 0, func(w io.Writer, _ int) (io.WriteCloser, error) { return nopWriteCloser{w}, nil }},
	"xz":    {".xz", 0, 9, 6, newXZWriter},
	"zstd":  {".zst", 1, 22, 3, newZstdWriter},
	"gzip":  {".gz", 1, 9, 6, func(w io.Writer, level int) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, level) }},
	"bzip2": {".bz2", 1, 9, 9, newBzip2Writer},
	"br":    {".br", 0, 11, 6, func(w io.Writer, level int) (io.WriteCloser, error) { return brotli.NewWriterLevel(w, level), nil }},
}

// encoder compresses what is written to it; Close completes it. Level 0 means the usual one.
func encoder(compression string, level int, w io.Writer) (io.WriteCloser, error) {
	if err := checkLevel(compression, level); err != nil {
		return nil, err
	}
	e := encoders[compression]
	if level == 0 {
		level = e.std
	}
	return e.open(w, level)
}

// checkLevel says what is wrong with a compression and its level.
func checkLevel(compression string, level int) error {
	e, ok := encoders[compression]
	if !ok {
		return fmt.Errorf("unknown compression method %q", compression)
	}
	if level != 0 && (level < e.low || level > e.high) {
		return fmt.Errorf("compression level %d: %s has %d to %d", level, compression, e.low, e.high)
	}
	return nil
}

func newZstdWriter(w io.Writer, level int) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)))
}

func newBzip2Writer(w io.Writer, level int) (io.WriteCloser, error) {
	return bzip2.NewWriter(w, &bzip2.WriterConfig{Level: level})
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }
