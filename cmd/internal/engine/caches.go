package engine

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"larder/cmd/internal/config"
	"larder/store"
	"larder/store/cache"
	"larder/store/netrc"
)

// CacheOptions are what a configuration says about binary caches, without a memory of answers.
func CacheOptions(c *config.Config) (cache.Options, error) {
	o := cache.Options{
		StoreDir: store.Dir(c.StoreDir), Attempts: max(1, int(c.DownloadAttempts)),
		ConnectTimeout: orUnlimited(c.ConnectTimeout), StallTimeout: orUnlimited(c.StallTimeout), Connections: int(c.HTTPConnections),
		PositiveTTL: orNothing(c.NarInfoPositiveTTL), NegativeTTL: orNothing(c.NarInfoNegTTL),
	}
	if o.Connections == 0 {
		o.Connections = 1 << 10
	}
	keys := store.KeyRing{}
	for _, text := range c.TrustedPublicKeys {
		k, err := store.ParsePublicKey(text)
		if err != nil {
			return o, fmt.Errorf("setting trusted-public-keys: %w", err)
		}
		keys[k.Name] = append(keys[k.Name], k)
	}
	var err error
	if o.Netrc, err = readNetrc(c.NetrcFile); err != nil {
		return o, fmt.Errorf("setting netrc-file: %w", err)
	}
	if o.Authorities, err = readAuthorities(c.SSLCertFile); err != nil {
		return o, fmt.Errorf("setting ssl-cert-file: %w", err)
	}
	o.Policy = cache.Policy{Keys: keys, RequireSigs: c.RequireSigs}
	return o, nil
}

const (
	maxNetrc       = 1 << 20  // bytes
	maxAuthorities = 16 << 20 // bytes
)

// readNetrc reads a netrc file. One that is not there, or is for somebody else, says nothing.
func readNetrc(name string) (netrc.Netrc, error) {
	text, err := readFile(name, maxNetrc)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return netrc.Netrc{}, nil
	}
	return netrc.Parse(string(text)), err
}

// readAuthorities reads certificates, PEM. Without the file they are those of the system: nil.
func readAuthorities(name string) (*x509.CertPool, error) {
	text, err := readFile(name, maxAuthorities)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificates in it", name)
	}
	return pool, nil
}

func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	return text, err
}

// orUnlimited: 0 stands for no limit in the configuration, and for the default in the library.
func orUnlimited(d time.Duration) time.Duration {
	if d == 0 {
		return 365 * 24 * time.Hour
	}
	return d
}

// orNothing: 0 stands for not at all in the configuration, and for the default in the library.
func orNothing(d time.Duration) time.Duration { return max(d, time.Nanosecond) }

const maxKeyFile = 4096 // bytes

// ReadKeys reads secret key files.
func ReadKeys(files []string) (keys []store.SecretKey, err error) {
	for _, name := range files {
		k, err := readKey(name)
		if err != nil {
			return nil, fmt.Errorf("setting secret-key-files: %w", err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func readKey(name string) (store.SecretKey, error) {
	f, err := os.Open(name)
	if err != nil {
		return store.SecretKey{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return store.SecretKey{}, err
	}
	k, err := store.ParseSecretKey(string(text))
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return k, err
}
