package cache

import (
	"crypto/x509"
	"log/slog"
	"net/http"
	"time"

	"larder/store"
	"larder/store/netrc"
)

// Options say how caches are asked. The zero value works; it requires no signatures.
type Options struct {
	StoreDir store.Dir // of the paths that are wanted; default /nix/store
	Policy   Policy
	Memory   Memory // nil remembers nothing
	Logger   *slog.Logger

	// Client replaces the HTTP client. Its transport must not change bodies; ConnectTimeout is its own business then.
	Client *http.Client
	// Netrc has user names and passwords by host (netrc-file), and Authorities the certificates that servers must have
	// (ssl-cert-file); nil: those of the system. With Client both are its own business.
	Netrc       netrc.Netrc
	Authorities *x509.CertPool
	// UserAgent of HTTP requests; default "larder".
	UserAgent string
	// Attempts is how often something is tried in all (download-attempts); default 5.
	Attempts int
	// Backoff is the pause before the second attempt; it doubles from then on, with jitter. Default 250 ms.
	Backoff time.Duration
	// ConnectTimeout bounds the making of a connection (connect-timeout); default 10 s.
	ConnectTimeout time.Duration
	// StallTimeout is how long a server may send nothing, or next to nothing (stalled-download-timeout), and how long it
	// may take over a small file. Default 60 s.
	StallTimeout time.Duration
	// DownTime is how long a cache that did not answer is left alone; default 60 s.
	DownTime time.Duration
	// Connections bounds how many small files are asked for at the same time (http-connections); default 25.
	Connections int

	// How long answers are remembered: narinfo-cache-positive-ttl (30 days), narinfo-cache-negative-ttl (1 hour), and
	// nix-cache-info (7 days).
	PositiveTTL, NegativeTTL, InfoTTL time.Duration
}

func (o Options) withDefaults() Options {
	setDefault(&o.StoreDir, store.DefaultDir)
	setDefault(&o.UserAgent, "larder")
	setDefault(&o.Attempts, 5)
	setDefault(&o.Backoff, 250*time.Millisecond)
	setDefault(&o.ConnectTimeout, 10*time.Second)
	setDefault(&o.StallTimeout, time.Minute)
	setDefault(&o.DownTime, time.Minute)
	setDefault(&o.Connections, 25)
	setDefault(&o.PositiveTTL, 30*24*time.Hour)
	setDefault(&o.NegativeTTL, time.Hour)
	setDefault(&o.InfoTTL, 7*24*time.Hour)
	if o.Memory == nil {
		o.Memory = noMemory{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
