package compress

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// maxWindow bounds the memory that a decoder may be made to use by its input: as much as "zstd --long=27", "zstd -22" and
// "xz -9" need.
const maxWindow = 128 << 20

// format is a compression that is recognised by its first bytes.
type format struct {
	magic string
	open  func(*bufio.Reader) (io.ReadCloser, error)
}

var formats = []format{
	{"\xfd7zXZ\x00", openXZ},
	{"\x28\xb5\x2f\xfd", openZstd},
	{"\x1f\x8b", openGzip},
	{"BZh", openBzip2},
	{"\x04\x22\x4d\x18", openLZ4},
	{"LZIP", openXZ},
	{"\x5d\x00\x00", openXZ},       // .lzma, with the usual parameters
	{"\x1f\x9d", openUnixCompress}, // compress(1)
}

// bufferSize is how much is read or written at a time.
const bufferSize = 64 << 10

// Detect stands for a compression that is not told, and may be none.
const Detect = "detect"

// NewReader decompresses a stream. As in Nix the name of the method, from a narinfo, is only believed if it is "none" or
// "br" (which has no magic number); otherwise the first bytes decide. It may read them from src at once.
//
// The reader gives a plain error for corrupt input, and io.EOF only if the input ended where it should. It must be closed,
// which does not close src.
func NewReader(method string, src io.Reader) (io.ReadCloser, error) {
	switch method {
	case "none":
		return io.NopCloser(src), nil
	case "br":
		return io.NopCloser(brotli.NewReader(src)), nil
	}
	in := bufio.NewReaderSize(src, bufferSize)
	magic, err := in.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	for _, f := range formats {
		if bytes.HasPrefix(magic, []byte(f.magic)) {
			return f.open(in)
		}
	}
	if method == Detect {
		return io.NopCloser(in), nil
	}
	return nil, fmt.Errorf("the file should be compressed by %q, but begins like nothing known", method)
}

func openZstd(r *bufio.Reader) (io.ReadCloser, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

func openGzip(r *bufio.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }

func openBzip2(r *bufio.Reader) (io.ReadCloser, error) { return io.NopCloser(bzip2.NewReader(r)), nil }

func openLZ4(r *bufio.Reader) (io.ReadCloser, error) { return io.NopCloser(lz4.NewReader(r)), nil }

func openUnixCompress(*bufio.Reader) (io.ReadCloser, error) {
	return nil, errors.New("compress(1) is not supported")
}
