package compress

/*
#cgo LDFLAGS: -llzma
#include <lzma.h>
#include <stdint.h>
#include <stdlib.h>

// The stream lies in C's memory, because the library keeps pointers to it. The
// buffers are Go's: the stream must not point to them after a call.

static lzma_stream *larder_stream(void) { return calloc(1, sizeof(lzma_stream)); }

static lzma_ret larder_decoder(lzma_stream *s, uint64_t memlimit) {
	return lzma_auto_decoder(s, memlimit, LZMA_CONCATENATED);
}

static lzma_ret larder_encoder(lzma_stream *s, uint32_t preset) {
	return lzma_easy_encoder(s, preset, LZMA_CHECK_CRC64);
}

typedef struct { lzma_ret ret; size_t in_left, out_left; } larder_step;

static larder_step larder_code(lzma_stream *s, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, int finish) {
	s->next_in = in;
	s->avail_in = in_len;
	s->next_out = out;
	s->avail_out = out_len;
	larder_step r;
	r.ret = lzma_code(s, finish ? LZMA_FINISH : LZMA_RUN);
	r.in_left = s->avail_in;
	r.out_left = s->avail_out;
	s->next_in = NULL;
	s->next_out = NULL;
	return r;
}

static void larder_free(lzma_stream *s) {
	lzma_end(s);
	free(s);
}
*/
import "C"

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"unsafe"
)

// maxLZMAMemory is what the decoder may use: a window, and what comes with it.
const maxLZMAMemory = maxWindow + 4<<20

var errLZMAMemory = errors.New("liblzma: out of memory")

// lzma is a stream of liblzma.
type lzma struct{ stream *C.lzma_stream }

// newLZMA makes a stream and lets setup prepare it.
func newLZMA(setup func(*C.lzma_stream) C.lzma_ret) (lzma, error) {
	s := C.larder_stream()
	if s == nil {
		return lzma{}, errLZMAMemory
	}
	if ret := setup(s); ret != C.LZMA_OK {
		C.larder_free(s)
		return lzma{}, lzmaError(ret)
	}
	return lzma{s}, nil
}

// code consumes some of in and produces some of out. finish says that in is the last input.
func (l *lzma) code(in, out []byte, finish bool) (consumed, produced int, end bool, err error) {
	if l.stream == nil {
		return 0, 0, false, errors.New("liblzma: closed")
	}
	var last C.int
	if finish {
		last = 1
	}
	r := C.larder_code(l.stream, (*C.uint8_t)(unsafe.SliceData(in)), C.size_t(len(in)),
		(*C.uint8_t)(unsafe.SliceData(out)), C.size_t(len(out)), last)
	consumed, produced = len(in)-int(r.in_left), len(out)-int(r.out_left)
	switch r.ret {
	case C.LZMA_OK:
	case C.LZMA_STREAM_END:
		end = true
	case C.LZMA_MEMLIMIT_ERROR:
		err = fmt.Errorf("xz: to decompress this takes %d MiB of memory, allowed are %d",
			uint64(C.lzma_memusage(l.stream))>>20, maxLZMAMemory>>20)
	default:
		err = lzmaError(r.ret)
	}
	return consumed, produced, end, err
}

func (l *lzma) free() {
	if l.stream != nil {
		C.larder_free(l.stream)
		l.stream = nil
	}
}

func lzmaError(ret C.lzma_ret) error {
	switch ret {
	case C.LZMA_MEM_ERROR:
		return errLZMAMemory
	case C.LZMA_FORMAT_ERROR:
		return errors.New("xz: the format is not recognised")
	case C.LZMA_OPTIONS_ERROR:
		return errors.New("xz: unsupported options")
	case C.LZMA_DATA_ERROR:
		return errors.New("xz: the data is corrupt")
	case C.LZMA_BUF_ERROR:
		return fmt.Errorf("xz: the data ends too early: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("liblzma: error %d", int(ret))
}

// xzReader decompresses .xz, .lzma and, with liblzma 5.4, .lz. The input must end where the compressed data does. It must
// be closed: its memory is C's.
type xzReader struct {
	lzma
	src *bufio.Reader
	err error
}

func openXZ(src *bufio.Reader) (io.ReadCloser, error) {
	l, err := newLZMA(func(s *C.lzma_stream) C.lzma_ret { return C.larder_decoder(s, maxLZMAMemory) })
	if err != nil {
		return nil, err
	}
	return &xzReader{lzma: l, src: src}, nil
}

func (r *xzReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.err == nil {
		n := 0
		if n, r.err = r.step(p); n > 0 {
			return n, nil
		}
	}
	return 0, r.err
}

func (r *xzReader) step(p []byte) (int, error) {
	_, err := r.src.Peek(1)
	if err != nil && err != io.EOF {
		return 0, err
	}
	in, _ := r.src.Peek(r.src.Buffered())
	consumed, n, end, err := r.code(in, p, err == io.EOF)
	r.src.Discard(consumed) // they are in the buffer: it can't fail
	if !end || err != nil {
		return n, err
	}
	if _, err := r.src.Peek(1); err == nil {
		return n, errors.New("xz: bytes follow the compressed data")
	} else if err != io.EOF {
		return n, err
	}
	return n, io.EOF
}

func (r *xzReader) Close() error {
	r.free()
	return nil
}

// xzWriter compresses to .xz. It must be closed, after an error too.
type xzWriter struct {
	lzma
	dst io.Writer
	buf []byte
	err error
}

func newXZWriter(dst io.Writer, level int) (io.WriteCloser, error) {
	l, err := newLZMA(func(s *C.lzma_stream) C.lzma_ret { return C.larder_encoder(s, C.uint32_t(level)) })
	if err != nil {
		return nil, err
	}
	return &xzWriter{lzma: l, dst: dst, buf: make([]byte, bufferSize)}, nil
}

func (w *xzWriter) Write(p []byte) (int, error) {
	written := 0
	for w.err == nil && written < len(p) {
		consumed, n, _, err := w.code(p[written:], w.buf, false)
		written += consumed
		w.flush(n, err)
	}
	return written, w.err
}

// Close completes the file, unless a Write failed.
func (w *xzWriter) Close() error {
	defer w.free()
	for end := false; w.err == nil && !end; {
		var n int
		var err error
		_, n, end, err = w.code(nil, w.buf, true)
		w.flush(n, err)
	}
	return w.err
}

func (w *xzWriter) flush(n int, err error) {
	if n > 0 {
		_, w.err = w.dst.Write(w.buf[:n])
	}
	if w.err == nil {
		w.err = err
	}
}
