package builtin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sys/unix"
)

// downloader gets files from URLs.
type downloader struct {
	opt       *FetchOptions
	client    *http.Client
	log       io.Writer
	transfers uint64
}

func newDownloader(o *FetchOptions, log io.Writer) *downloader {
	return &downloader{opt: o, client: newClient(o), log: log}
}

func (d *downloader) close() { d.client.CloseIdleConnections() }

// maxRetryAfter is how long a server may make us wait.
const maxRetryAfter = time.Minute

// get writes what is at location into file, from its beginning. It is tried several times if that makes sense.
func (d *downloader) get(ctx context.Context, location string, file *os.File) error {
	u, err := url.Parse(location)
	if err != nil {
		return fmt.Errorf("unable to download '%s': %w", location, withoutURL(err))
	}
	shown := u.Redacted()
	var once func(context.Context, *url.URL, *os.File, *progress) error
	switch u.Scheme {
	case "file":
		once = readFile
	case "http", "https":
		once = d.request
	default:
		return fmt.Errorf("unable to download '%s': the URL scheme '%s' is not supported", shown, u.Scheme)
	}
	d.transfers++
	p := startProgress(d.log, d.transfers, shown)
	defer p.stop()
	pause := backoff.NewExponentialBackOff()
	if d.opt.Backoff > 0 {
		pause.InitialInterval = d.opt.Backoff
	}
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		// What an earlier attempt has written is wrong, or too little.
		if err := errors.Join(file.Truncate(0), rewind(file)); err != nil {
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, once(ctx, u, file, p)
	},
		backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0), backoff.WithMaxTries(uint(max(d.opt.Attempts, 1))),
		backoff.WithNotify(func(err error, pause time.Duration) {
			fmt.Fprintf(d.log, "warning: unable to download '%s': %v; retrying in %d ms\n", shown, err, pause.Milliseconds())
		}))
	if err != nil {
		return fmt.Errorf("unable to download '%s': %w", shown, err)
	}
	return nil
}

func rewind(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// readFile is one attempt at a file:// URL.
func readFile(_ context.Context, u *url.URL, to *os.File, p *progress) error {
	if u.Host != "" && u.Host != "localhost" {
		return backoff.Permanent(fmt.Errorf("the file is on another machine, '%s'", u.Host))
	}
	// A pipe must not hold us up.
	from, err := os.OpenFile(u.Path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return backoff.Permanent(err)
	}
	defer from.Close()
	info, err := from.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("'%s' is not a regular file", u.Path)
	}
	if err == nil {
		p.expect(info.Size())
		_, err = io.Copy(to, p.reader(from))
	}
	if err != nil {
		return backoff.Permanent(err)
	}
	return nil
}

var errStalled = errors.New("nothing came for too long")

// request is one attempt at a URL of the web.
func (d *downloader) request(ctx context.Context, u *url.URL, to *os.File, p *progress) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive := func() {}
	if limit := d.opt.StallTimeout; limit > 0 {
		timer := time.AfterFunc(limit, func() { cancel(fmt.Errorf("%w (%v)", errStalled, limit)) })
		defer timer.Stop()
		alive = func() { timer.Reset(limit) }
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return backoff.Permanent(err)
	}
	r.Header.Set("User-Agent", d.opt.UserAgent)
	resp, err := d.client.Do(r)
	if err != nil {
		return d.failure(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 || resp.StatusCode == http.StatusPartialContent {
		return statusError(resp)
	}
	p.expect(max(resp.ContentLength, 0))
	body := &failing{r: p.reader(&watched{resp.Body, alive})}
	if _, err := io.Copy(to, body); body.err != nil {
		return d.failure(ctx, body.err)
	} else if err != nil {
		return backoff.Permanent(err) // the disk's
	}
	return nil
}

// failure says what the error of a request or of its body means.
func (d *downloader) failure(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		return cause
	}
	err = withoutURL(err)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the connection was closed too early: %w", err)
	}
	if permanent(err) {
		return backoff.Permanent(d.explain(err))
	}
	return err
}

// explain adds what the user can do.
func (d *downloader) explain(err error) error {
	if len(d.opt.CA) == 0 {
		return fmt.Errorf("%w (no certificate authorities are known: see the setting 'ssl-cert-file')", err)
	}
	return err
}

// withoutURL takes the URL out of an error: it is in our own, without the password.
func withoutURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// statusError says what an HTTP status means that is not success.
func statusError(resp *http.Response) error {
	err := fmt.Errorf("HTTP error %d", resp.StatusCode)
	switch code := resp.StatusCode; code {
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusNetworkAuthenticationRequired:
		return backoff.Permanent(err)
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		if after := time.Duration(seconds) * time.Second; after > 0 && after <= maxRetryAfter {
			return &laterError{err, after}
		}
		return err
	default:
		if code >= 500 {
			return err
		}
		return backoff.Permanent(err)
	}
}

// laterError is a failure after which the server wants to be left alone.
type laterError struct {
	error
	after time.Duration
}

func (e *laterError) Unwrap() []error {
	return []error{e.error, &backoff.RetryAfterError{Duration: e.after}}
}

// watched reports each piece that comes.
type watched struct {
	r     io.Reader
	alive func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.alive()
	}
	return n, err
}

// failing remembers an error of a source, to tell it from the target's.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}
