package builtin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/http/httpproxy"

	"larder/store/netrc"
)

const maxRedirects = 10

var errRedirects = fmt.Errorf("more than %d redirects in a row", maxRedirects)

// newClient makes a client that shares nothing with anybody.
func newClient(o *FetchOptions) *http.Client {
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(o.CA)
	dialer := &net.Dialer{
		Timeout: o.ConnectTimeout,
		// The C library's resolver would look for modules that are not in the sandbox.
		Resolver: &net.Resolver{PreferGo: true},
	}
	transport := &http.Transport{
		Proxy:                  proxy(o.Proxy),
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    o.ConnectTimeout,
		TLSClientConfig:        &tls.Config{RootCAs: authorities},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // the hash is of the file as the server has it
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &http.Client{
		Transport: &netrc.Transport{Next: transport, Netrc: netrc.Parse(string(o.Netrc))},
		// Also from https to http: what comes is checked against a hash.
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return errRedirects
			}
			return nil
		},
	}
}

// proxy chooses the proxy for a request by the variables that curl and others know.
func proxy(variables map[string]string) func(*http.Request) (*url.URL, error) {
	first := func(names ...string) string {
		for _, n := range names {
			if v := variables[n]; v != "" {
				return v
			}
		}
		return ""
	}
	config := httpproxy.Config{
		// HTTP_PROXY in capitals is what a CGI program is sent by its clients; curl ignores it for that reason.
		HTTPProxy:  first("http_proxy", "all_proxy", "ALL_PROXY"),
		HTTPSProxy: first("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
		NoProxy:    first("no_proxy", "NO_PROXY"),
	}
	choose := config.ProxyFunc()
	return func(r *http.Request) (*url.URL, error) { return choose(r.URL) }
}

// ProxyVariables are the names that FetchOptions.Proxy may have.
var ProxyVariables = []string{"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"}

// permanent reports whether another attempt would meet the same error.
func permanent(err error) bool {
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var address *net.AddrError
	return errors.Is(err, errRedirects) || errors.As(err, &cert) || errors.As(err, &record) || errors.As(err, &address) ||
		errors.Is(err, context.Canceled)
}
