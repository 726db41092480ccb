package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"

	"larder/store"
)

// Client is a Service that asks a daemon. Its methods may be called concurrently.
type Client struct {
	http  *http.Client
	hello Hello
}

var _ Service = (*Client)(nil)

// maxAnswer bounds a JSON answer, in bytes: the closure of a large system is some megabytes.
const maxAnswer = 1 << 30

// maxLine bounds a line of a stream: an event or an outcome.
const maxLine = 256 << 20

// Dial connects to the daemon at a control socket. ErrNoDaemon: nobody is there.
func Dial(ctx context.Context, socket string) (*Client, error) {
	c := &Client{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, socket) },
	}}}
	err := c.get(ctx, "hello", &c.hello)
	if err == nil {
		err = c.hello.check()
	}
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		err = fmt.Errorf("%w at %s", ErrNoDaemon, socket)
	case errors.Is(err, os.ErrPermission):
		err = fmt.Errorf("%w: it can't be asked through %s", ErrDenied, socket)
	}
	return nil, errors.Join(err, c.Close())
}

// Close closes the connections that are not in use.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Dir is the daemon's store directory.
func (c *Client) Dir() store.Dir { return c.hello.StoreDir }

// Hello is what the daemon said when the connection was made.
func (c *Client) Hello(context.Context) (*Hello, error) {
	h := c.hello
	return &h, nil
}

// do sends a request. An answer other than success is the error it holds.
func (c *Client) do(ctx context.Context, method, path, kind string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://larder/v1/"+path, body)
	if err != nil {
		return nil, err
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	res, err := c.http.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // its text would name a URL that nobody typed
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("asking the daemon: %w", err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	var b errorBody
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&b); err != nil || b.Message == "" {
		return nil, fmt.Errorf("asking the daemon: %w: it answered %s", ErrBadRequest, res.Status)
	}
	return nil, b.decode()
}

func (c *Client) get(ctx context.Context, path string, answer any) error {
	res, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	return decodeAnswer(res, answer)
}

func (c *Client) post(ctx context.Context, path string, body, answer any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	res, err := c.do(ctx, http.MethodPost, path, "application/json", bytes.NewReader(b))
	if err != nil {
		return err
	}
	return decodeAnswer(res, answer)
}

func decodeAnswer(res *http.Response, answer any) error {
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("%w: %w", ErrCutOff, err)
	}
	return nil
}

// stream is a raw answer. Read returns the daemon's error, or ErrCutOff, where there is no more although it is not all.
type stream struct {
	res *http.Response
}

func (s *stream) Close() error { return s.res.Body.Close() }

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.res.Body.Read(b)
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		return n, fmt.Errorf("%w: %w", ErrCutOff, err)
	}
	end := s.res.Trailer.Get(endTrailer)
	if end == endOK {
		return n, io.EOF
	}
	var e errorBody
	if json.Unmarshal([]byte(end), &e) != nil || e.Message == "" {
		return n, ErrCutOff
	}
	return n, e.decode()
}

func (c *Client) open(ctx context.Context, path string) (io.ReadCloser, error) {
	res, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return nil, err
	}
	return &stream{res}, nil
}

// lines calls f with each line of a stream, until f says stop, fails, or the stream ends.
func lines(res *http.Response, f func(line) (stop bool, err error)) error {
	defer res.Body.Close()
	scan := bufio.NewScanner(res.Body)
	scan.Buffer(nil, maxLine)
	for scan.Scan() {
		var l line
		if err := json.Unmarshal(scan.Bytes(), &l); err != nil {
			return fmt.Errorf("%w: %w", ErrCutOff, err)
		}
		if l.Error != nil {
			return l.Error.decode()
		}
		if stop, err := f(l); stop || err != nil {
			return err
		}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrCutOff, err)
	}
	return io.EOF
}
