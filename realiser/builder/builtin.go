package builder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"larder/realiser/builtin"
	"larder/sandbox"
	"larder/store"
)

// Fetch is how builtin:fetchurl reaches the world. Names in parentheses are those
// of nix.conf.
type Fetch struct {
	// Files are read anew for each download; one that does not exist is as good as
	// an empty one.
	NetrcFile string // credentials by host (netrc-file)
	CertFile  string // certificate authorities, PEM (ssl-cert-file); builders with the network see it, too

	HashedMirrors  []string      // URLs below which files lie by their hash (hashed-mirrors)
	UserAgent      string        // "": larder
	Attempts       int           // in all (download-attempts); 0: 1
	ConnectTimeout time.Duration // to make a connection (connect-timeout); 0: any time
	StallTimeout   time.Duration // without a byte (stalled-download-timeout); 0: any time
}

// firstPause is how long fetchurl waits before it tries again, for the first time.
const firstPause = 250 * time.Millisecond

// builtin returns the name of the builtin builder that drv asks for.
func (b *build) builtin() (name string, ok bool) {
	return strings.CutPrefix(b.Drv.Builder, builtin.Prefix)
}

// callBuiltin tells the sandbox to run a builtin builder, and gives it what it needs to know.
func (b *build) callBuiltin(s *sandbox.Spec, name string) (err error) {
	in := &builtin.Input{Attributes: b.attributes(), Network: s.Network}
	if out, ok := b.Outputs["out"]; ok {
		in.Out = b.dir.Join(out)
	}
	if ca := b.Drv.Outputs["out"].CA; b.fixed() && ca.Method == store.Flat {
		in.FlatHash = ca.Hash.String()
	}
	if name == "fetchurl" {
		in.Fetch = b.fetchOptions()
	}
	s.Builtin = name
	s.BuiltinInput, err = in.Encode()
	return err
}

func (b *build) fetchOptions() builtin.FetchOptions {
	f := &b.opt.Fetch
	o := builtin.FetchOptions{
		Netrc: b.secret(f.NetrcFile), CA: b.secret(f.CertFile),
		HashedMirrors: f.HashedMirrors, Proxy: make(map[string]string),
		UserAgent: f.UserAgent, Attempts: f.Attempts, Backoff: firstPause, ConnectTimeout: f.ConnectTimeout, StallTimeout: f.StallTimeout,
	}
	if o.UserAgent == "" {
		o.UserAgent = "larder"
	}
	for _, name := range builtin.ProxyVariables {
		if value, ok := b.opt.Getenv(name); ok {
			o.Proxy[name] = value
		}
	}
	return o
}

// secret reads a file of the settings that builders can't see.
func (b *build) secret(path string) []byte {
	if path == "" {
		return nil
	}
	const limit = 16 << 20
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var text []byte
	if err == nil {
		defer f.Close()
		text, err = io.ReadAll(io.LimitReader(f, limit+1))
	}
	if err == nil && len(text) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	if err != nil {
		b.opt.Logger.Warn("a file of the settings is passed over", "err", err)
		return nil
	}
	return text
}

// certificates shows builders with the network the certificate authorities, where
// most programs look for them.
func (b *build) certificates(see places) {
	const place = "/etc/ssl/certs/ca-certificates.crt"
	if b.noChroot || !networked(b.Drv) || b.opt.Fetch.CertFile == "" {
		return
	}
	// It is a symlink on many machines.
	file, err := filepath.EvalSymlinks(b.opt.Fetch.CertFile)
	if _, taken := see[place]; err == nil && !taken {
		see[place] = sandbox.Mount{Source: file, Target: place, Optional: true}
	}
}

// attributes are the derivation's, as variables of a builder's environment would
// have them: placeholders replaced, and what is structured as Nix turns it into strings.
func (b *build) attributes() map[string]string {
	rewrite := b.placeholders()
	all := make(map[string]string)
	if b.Asks.Structured == nil {
		for name, value := range b.Drv.Env {
			all[name] = rewrite.Replace(value)
		}
		return all
	}
	for name, value := range b.Asks.Structured {
		if text, ok := asString(value); ok {
			all[name] = rewrite.Replace(text)
		}
	}
	return all
}

// asString is what Nix makes of a value in a derivation without structured
// attributes. Objects have no such form.
func asString(value any) (string, bool) {
	switch v := value.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case bool:
		if v {
			return "1", true
		}
		return "", true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'f', 6, 64), true
	case []any:
		words := make([]string, len(v))
		for i, element := range v {
			var ok bool
			if words[i], ok = asString(element); !ok {
				return "", false
			}
		}
		return strings.Join(words, " "), true
	}
	return "", false
}
