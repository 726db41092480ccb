package cacheserver

import (
	"errors"
	"io"
	"strconv"
	"strings"
)

var errRange = errors.New("this range is not in the file")

// byteRange parses a Range header (RFC 9110, section 14) for a file of a size, and returns where to start and end. No header,
// another unit and several ranges mean the whole file, as the standard allows.
func byteRange(header string, size int64) (start, end int64, err error) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	if !ok || strings.Contains(spec, ",") {
		return 0, size, nil
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return 0, size, nil
	}
	if first == "" { // the last N bytes
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n <= 0 {
			return 0, 0, errRange
		}
		return max(size-n, 0), size, nil
	}
	start, err = strconv.ParseInt(first, 10, 64)
	if err != nil || start < 0 || start >= size {
		return 0, 0, errRange
	}
	if last == "" {
		return start, size, nil
	}
	end, err = strconv.ParseInt(last, 10, 64)
	if err != nil || end < start {
		return 0, 0, errRange
	}
	return start, min(end+1, size), nil
}

var errWindowFull = errors.New("all that was asked for is written")

// window passes on a part of what is written to it: left bytes after the first skip. Then it fails with errWindowFull.
type window struct {
	w          io.Writer
	skip, left int64
}

func (x *window) Write(b []byte) (int, error) {
	n := len(b)
	skipped := min(x.skip, int64(n))
	x.skip -= skipped
	b = b[skipped:]
	if int64(len(b)) > x.left {
		b = b[:x.left]
	}
	if len(b) > 0 {
		if _, err := x.w.Write(b); err != nil {
			return 0, err
		}
		x.left -= int64(len(b))
	}
	if x.left == 0 && x.skip == 0 && int64(n) > skipped+int64(len(b)) {
		return 0, errWindowFull
	}
	return n, nil
}
