package cache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"larder/store"
	"larder/store/netrc"
)

const maxRedirects = 10

var errRedirect = errors.New("redirect refused")

// web reaches the files of a cache by HTTP.
type web struct {
	base   *url.URL
	opt    *Options
	client *http.Client
	slots  chan struct{} // one for each small file that is being fetched
	outage outage
}

func newWeb(base *url.URL, o *Options) *web {
	w := &web{base: base, opt: o, client: o.Client, slots: make(chan struct{}, o.Connections)}
	w.outage.lasts = o.DownTime
	if w.client == nil {
		w.client = &http.Client{Transport: &netrc.Transport{Next: newTransport(o), Netrc: o.Netrc}, CheckRedirect: checkRedirect}
	}
	return w
}

func newTransport(o *Options) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: o.ConnectTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    o.ConnectTimeout,
		TLSClientConfig:        &tls.Config{RootCAs: o.Authorities},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // ranges are of the bytes as they are sent
		MaxIdleConnsPerHost:    o.Connections,
		IdleConnTimeout:        90 * time.Second,
		ReadBufferSize:         64 << 10,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// checkRedirect follows redirects to other hosts, many caches consist of them, but not from https to http.
func checkRedirect(to *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("%w: more than %d in a row", errRedirect, maxRedirects)
	}
	if via[len(via)-1].URL.Scheme == "https" && to.URL.Scheme != "https" {
		return fmt.Errorf("%w: from https to %s", errRedirect, to.URL.Redacted())
	}
	return nil
}

func (w *web) close() {
	if w.opt.Client == nil {
		w.client.CloseIdleConnections()
	}
}

func (w *web) get(ctx context.Context, name string, max int64) ([]byte, error) {
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	tries := newAttempts(w.opt, &w.outage)
	for {
		b, err := w.getOnce(ctx, name, max)
		if err == nil {
			return b, nil
		}
		if err := tries.again(ctx, err); err != nil {
			return nil, err
		}
	}
}

func (w *web) getOnce(ctx context.Context, name string, max int64) ([]byte, error) {
	watch := newWatch(ctx, w.opt.StallTimeout)
	defer watch.end()
	resp, err := w.request(watch, name, http.Header{"Accept-Encoding": {"gzip, zstd, br"}})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, statusError(resp)
	}
	body := &tracked{r: resp.Body}
	plain, err := decodeContent(resp.Header.Get("Content-Encoding"), body)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	b, err := io.ReadAll(io.LimitReader(plain, max+1))
	switch {
	case body.failed() != nil:
		return nil, readFailure(watch, body.failed())
	case err != nil:
		return nil, corrupt(err)
	case int64(len(b)) > max:
		return nil, corruptf("%s is longer than %d bytes", name, max)
	}
	return b, nil
}

// request makes one request and returns when the header has come.
func (w *web) request(watch *watch, name string, header http.Header) (*http.Response, error) {
	if err := w.outage.check(); err != nil {
		return nil, err
	}
	u, err := w.resolve(name)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(watch.ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	req.Header.Set("User-Agent", w.opt.UserAgent)
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, requestFailure(watch, err)
	}
	return resp, nil
}

// resolve makes the URL of a file from what a narinfo says. It must stay below the cache's URL: narinfos are not to be
// believed, and should not make us ask other servers for other things.
func (w *web) resolve(name string) (*url.URL, error) {
	text := w.base.JoinPath("/").String()
	if strings.Contains(name, "://") {
		text = name
	} else if strings.HasPrefix(name, "/") {
		return nil, corruptf("the URL %q is not relative", name)
	} else {
		text += name
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, corruptf("the URL %q is malformed", name)
	}
	below, ok := strings.CutPrefix(u.Path, w.base.Path+"/")
	if !ok || u.Scheme != w.base.Scheme || u.Host != w.base.Host || u.Fragment != "" || below == "" {
		return nil, corruptf("the URL %q leaves the cache", name)
	}
	for part := range strings.SplitSeq(below, "/") {
		if part == "." || part == ".." {
			return nil, corruptf("the URL %q leaves the cache", name)
		}
	}
	u.User = w.base.User
	return u, nil
}

// requestFailure says what the error of a request means.
func requestFailure(watch *watch, err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // the URL is in our own error
	}
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case watch.stalled():
		return &transientError{err: fmt.Errorf("no answer within %v: %w", watch.limit, errStalled), noAnswer: true}
	case watch.ctx.Err() != nil:
		return context.Cause(watch.ctx)
	case errors.Is(err, errRedirect), errors.As(err, &cert), errors.As(err, &record):
		return err
	}
	return &transientError{err: err, noAnswer: true}
}

// readFailure says what the error of reading a body means.
func readFailure(watch *watch, err error) error {
	switch {
	case watch.stalled():
		return &transientError{err: fmt.Errorf("next to nothing came within %v: %w", watch.limit, errStalled)}
	case watch.ctx.Err() != nil:
		return context.Cause(watch.ctx)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &transientError{err: fmt.Errorf("the connection was closed too early: %w", err)}
	}
	return &transientError{err: err}
}

// statusError says what an HTTP status means that is not the wanted one.
func statusError(resp *http.Response) error {
	err := fmt.Errorf("HTTP status %s", resp.Status)
	switch code := resp.StatusCode; code {
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden: // 403 is how S3 says 404
		return fmt.Errorf("%w: %w", store.ErrNotFound, err)
	case http.StatusUnauthorized, http.StatusProxyAuthRequired,
		http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusNetworkAuthenticationRequired:
		return err
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return &transientError{err: err, after: retryAfter(resp)}
	default:
		if code >= 500 {
			return &transientError{err: err}
		}
		return err
	}
}

// retryAfter reads the header of that name: seconds or a date.
func retryAfter(resp *http.Response) time.Duration {
	text := resp.Header.Get("Retry-After")
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}
