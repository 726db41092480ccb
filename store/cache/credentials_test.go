package cache_test

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"larder/store/netrc"
)

// TestCredentials: a cache gets the password that the netrc has for its host; who it redirects to does not.
func TestCredentials(t *testing.T) {
	var mu sync.Mutex // guards got
	got := map[string]string{}
	var other string
	mine := handle(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		host, _, _ := strings.Cut(r.Host, ":")
		mu.Lock()
		got[host] = user + ":" + password
		mu.Unlock()
		if host == "localhost" {
			_, _ = w.Write([]byte("StoreDir: /nix/store\nPriority: 7\n"))
			return
		}
		http.Redirect(w, r, other+r.URL.Path, http.StatusFound)
	}))
	// The same server by another name.
	other = strings.Replace(mine, "127.0.0.1", "localhost", 1)
	o := quick()
	o.Netrc = netrc.Parse("machine 127.0.0.1 login me password secret")
	info, err := open(t, mine, o).Info(t.Context())
	if err != nil || info.Priority != 7 {
		t.Errorf("%+v, %v", info, err)
	}
	if got["127.0.0.1"] != "me:secret" || got["localhost"] != ":" {
		t.Errorf("sent %v", got)
	}
}

// TestAuthorities: a cache must have a certificate of those that are given.
func TestAuthorities(t *testing.T) {
	server := httptest.NewTLSServer(newAnswers(map[string]string{}))
	defer server.Close()
	o := quick()
	o.Authorities = x509.NewCertPool()
	if _, err := open(t, server.URL, o).Info(t.Context()); err == nil {
		t.Error("a server that nobody vouches for")
	}
	o.Authorities.AddCert(server.Certificate())
	if _, err := open(t, server.URL, o).Info(t.Context()); err != nil {
		t.Error(err)
	}
}
