package cache

import (
	"io"
	"strings"

	"larder/store/compress"
)

// decodeContent undoes the Content-Encoding of an HTTP body. Some caches store logs and listings in encoded form, and send
// them so to everybody.
func decodeContent(encoding string, r io.Reader) (io.ReadCloser, error) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return io.NopCloser(r), nil
	case "br":
		return compress.NewReader("br", r)
	case "gzip", "x-gzip", "zstd", "xz":
		return &lazyDecoder{compression: encoding, src: r}, nil
	}
	return nil, corruptf("the content encoding %q is not known", encoding)
}

// lazyDecoder makes the decoder when it is read from: it may have to wait for the first bytes.
type lazyDecoder struct {
	compression string
	src         io.Reader
	decoder     io.ReadCloser
}

func (l *lazyDecoder) Read(p []byte) (int, error) {
	if l.decoder == nil {
		d, err := compress.NewReader(l.compression, l.src)
		if err != nil {
			return 0, corrupt(err)
		}
		l.decoder = d
	}
	n, err := l.decoder.Read(p)
	if err != nil && err != io.EOF {
		err = corrupt(err)
	}
	return n, err
}

func (l *lazyDecoder) Close() error {
	if l.decoder == nil {
		return nil
	}
	return l.decoder.Close()
}
