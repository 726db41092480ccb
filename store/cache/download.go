package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"strings"
)

// enoughProgress is how many new bytes make the failures before them forgotten.
const enoughProgress = 1 << 20

// download is the body of a file on the web. When the connection breaks it goes on where it was: by a range request if the
// server offers ranges and names the version of the file (RFC 9110, If-Range), otherwise by reading the file from its
// beginning again, and making sure that the beginning is the same as before.
type download struct {
	web      *web
	ctx      context.Context
	name     string
	body     *watched // nil between connections
	attempts *attempts

	offset    int64        // bytes delivered
	seen      maphash.Hash // of them
	size      int64        // of the whole file, -1 if not known
	version   string       // ETag or date; "" if there is none to rely on
	encoding  string       // Content-Encoding
	sinceFail int64        // bytes since the last failure
	ranged    bool         // this body is the answer to a range request
	err       error        // final
}

func (w *web) open(ctx context.Context, name string) (io.ReadCloser, error) {
	d := &download{web: w, ctx: ctx, name: name, size: -1, attempts: newAttempts(w.opt, &w.outage)}
	if err := d.connect(); err != nil {
		return nil, err
	}
	if d.encoding == "" {
		return d, nil
	}
	plain, err := decodeContent(d.encoding, d)
	if err != nil {
		d.Close()
		return nil, err
	}
	return &encodedDownload{plain, d}, nil
}

// encodedDownload is a download with a Content-Encoding, decoded.
type encodedDownload struct {
	io.ReadCloser
	from *download
}

func (e *encodedDownload) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	if err != nil && e.from.err != nil && e.from.err != io.EOF {
		err = e.from.err // decoders may hide it
	}
	return n, err
}

func (e *encodedDownload) Close() error {
	return cmp.Or(e.ReadCloser.Close(), e.from.Close())
}

func (d *download) Read(p []byte) (int, error) {
	for d.err == nil {
		if d.body == nil {
			if err := d.connect(); err != nil {
				d.err = err
				break
			}
		}
		n, err := d.body.Read(p)
		if n > 0 {
			d.delivered(p[:n])
			return n, nil // an error comes again
		}
		if err == io.EOF {
			err = d.ended()
		} else if err != nil {
			err = readFailure(d.body.watch, err)
		}
		if err != nil {
			d.drop()
			d.sinceFail = 0
			d.err = d.retry(err)
		}
	}
	return 0, d.err
}

func (d *download) delivered(p []byte) {
	d.offset += int64(len(p))
	d.seen.Write(p)
	// Who has to start again from the beginning each time gets no new attempts, or it might never end.
	before := d.sinceFail
	d.sinceFail += int64(len(p))
	if before < enoughProgress && d.sinceFail >= enoughProgress && (d.ranged || d.attempts.made == 0) {
		d.attempts.progress()
	}
}

// ended says what the end of a body means.
func (d *download) ended() error {
	if d.size >= 0 && d.offset < d.size {
		return &transientError{err: fmt.Errorf("the connection was closed after %d of %d bytes", d.offset, d.size)}
	}
	return io.EOF
}

// retry waits for the next attempt. Its error is final.
func (d *download) retry(err error) error {
	if err == io.EOF {
		return err
	}
	return d.attempts.again(d.ctx, err)
}

// connect makes requests until one brings the file from the offset on.
func (d *download) connect() error {
	for {
		err := d.connectOnce()
		if err == nil {
			return nil
		}
		d.drop()
		if err := d.attempts.again(d.ctx, err); err != nil {
			return err
		}
	}
}

func (d *download) connectOnce() error {
	header := http.Header{"Accept-Encoding": {"identity"}}
	if d.offset > 0 && d.version != "" {
		header.Set("Range", fmt.Sprintf("bytes=%d-", d.offset))
		header.Set("If-Range", d.version)
	}
	watch := newWatch(d.ctx, d.web.opt.StallTimeout)
	resp, err := d.web.request(watch, d.name, header)
	if err != nil {
		watch.end()
		return err
	}
	watch.rest()
	d.body = &watched{body: resp.Body, watch: watch}
	switch {
	case resp.StatusCode == http.StatusOK:
		return d.begin(resp)
	case resp.StatusCode == http.StatusPartialContent && header.Get("Range") != "":
		d.ranged = true
		return d.checkRange(resp.Header)
	}
	return statusError(resp)
}

// begin takes the answer to a request for the whole file.
func (d *download) begin(resp *http.Response) error {
	d.ranged = false
	d.size, d.version = resp.ContentLength, ""
	if resp.Header.Get("Accept-Ranges") == "bytes" {
		d.version = version(resp.Header)
	}
	encoding := resp.Header.Get("Content-Encoding")
	if d.offset == 0 {
		d.encoding = encoding
		return nil
	}
	if encoding != d.encoding {
		return corruptf("%s changed while it was read: its encoding was %q and is %q", d.name, d.encoding, encoding)
	}
	return d.skip()
}

// skip reads what was delivered already, and compares.
func (d *download) skip() error {
	var again maphash.Hash
	again.SetSeed(d.seen.Seed())
	n, err := io.CopyN(&again, d.body, d.offset)
	switch {
	case err == io.EOF && d.size == n:
		return corruptf("%s changed while it was read: it is shorter now", d.name)
	case err == io.EOF:
		return readFailure(d.body.watch, io.ErrUnexpectedEOF)
	case err != nil:
		return readFailure(d.body.watch, err)
	case again.Sum64() != d.seen.Sum64():
		return corruptf("%s changed while it was read", d.name)
	}
	return nil
}

// checkRange makes sure that a partial answer is the part that is wanted.
func (d *download) checkRange(h http.Header) error {
	if tag := h.Get("ETag"); tag != "" && strings.HasPrefix(d.version, `"`) && tag != d.version {
		return corruptf("%s changed while it was read", d.name) // the server ignores If-Range
	}
	text := h.Get("Content-Range")
	var from, to, total int64
	if n, err := fmt.Sscanf(text, "bytes %d-%d/%d", &from, &to, &total); n < 2 || (err != nil && !strings.HasSuffix(text, "/*")) {
		return corruptf("%s: the server answered with the range %q", d.name, text)
	}
	if from != d.offset || to < from || (total != 0 && (to != total-1 || d.size >= 0 && total != d.size)) {
		return corruptf("%s: asked for byte %d on, the server answered with the range %q", d.name, d.offset, text)
	}
	if d.size < 0 {
		d.size = to + 1
	}
	return nil
}

// version is what identifies this version of a file for sure, for If-Range.
func version(h http.Header) string {
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return tag // W/"…" is a weak one
	}
	return h.Get("Last-Modified")
}

// drop closes the connection.
func (d *download) drop() {
	if d.body != nil {
		d.body.Close()
		d.body = nil
	}
}

// Close ends the download. It is not for use during a Read; cancel the context to end that.
func (d *download) Close() error {
	d.drop()
	if d.err == nil {
		d.err = errors.New("read from a closed download")
	}
	return nil
}
