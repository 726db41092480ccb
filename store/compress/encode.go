package compress

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
	suffix         string // of a file name
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

// NewWriter compresses what is written to it, for w. Close completes that, and does not close w. Level 0 means the usual one.
func NewWriter(method string, level int, w io.Writer) (io.WriteCloser, error) {
	if err := Check(method, level); err != nil {
		return nil, err
	}
	e := encoders[method]
	if level == 0 {
		level = e.std
	}
	return e.open(w, level)
}

// Suffix is how names of files end that NewWriter makes with this method: "" or ".xz", for example.
func Suffix(method string) string { return encoders[method].suffix }

// Check says what is wrong with a method and its level, for NewWriter.
func Check(method string, level int) error {
	e, ok := encoders[method]
	if !ok {
		return fmt.Errorf("unknown compression method %q", method)
	}
	if level != 0 && (level < e.low || level > e.high) {
		return fmt.Errorf("compression level %d: %s has %d to %d", level, method, e.low, e.high)
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
