package netrc

import "net/http"

// Transport gives each request the credentials for its host, unless it has some. Because this happens below an http.Client,
// which follows the redirects, a redirect to another host does not take them along.
type Transport struct {
	Next  http.RoundTripper
	Netrc Netrc
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") == "" && !downgraded(r) {
		if login, password, ok := t.Netrc.Find(r.URL.Hostname()); ok {
			r = r.Clone(r.Context())
			r.SetBasicAuth(login, password)
		}
	}
	return t.Next.RoundTrip(r)
}

// CloseIdleConnections is what http.Client asks of its transport.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.Next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// downgraded reports whether a redirect from https led to r, which is in the clear.
func downgraded(r *http.Request) bool {
	if r.URL.Scheme == "https" {
		return false
	}
	for via := r.Response; via != nil && via.Request != nil; via = via.Request.Response {
		if via.Request.URL.Scheme == "https" {
			return true
		}
	}
	return false
}
