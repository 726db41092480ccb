package cache

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"

	"larder/store/compress"
)

// location is a parsed cache URL. The settings are those of Nix's store URLs.
type location struct {
	base *url.URL // without settings
	file string   // the directory of a file:// cache

	priority      *int
	wantMassQuery *bool
	trusted       bool
	push          PushOptions
}

func parseLocation(text string) (*location, error) {
	u, err := url.Parse(text)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // it repeats the URL, a password included
		}
		return nil, fmt.Errorf("cache URL %q: %w", text[strings.LastIndexByte(text, '@')+1:], err)
	}
	settings, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("cache URL %s: %w", u.Redacted(), err)
	}
	u.RawQuery, u.ForceQuery = "", false
	l := &location{base: u}
	bad := func(format string, args ...any) (*location, error) {
		return nil, fmt.Errorf("cache URL %s: %s", u.Redacted(), fmt.Sprintf(format, args...))
	}
	if u.Fragment != "" {
		return bad("it has a fragment %q", u.Fragment)
	}
	switch u.Scheme {
	case "http", "https":
		if u.Host == "" {
			return bad("it has no host")
		}
		u.Path = strings.TrimRight(u.Path, "/")
		u.RawPath = strings.TrimRight(u.RawPath, "/")
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return bad("a file URL needs three slashes: file:///%s%s", u.Host, u.Path)
		}
		if !path.IsAbs(u.Path) || strings.ContainsRune(u.Path, 0) {
			return bad("a file URL needs an absolute path")
		}
		u.Host, u.Path, u.RawPath = "", path.Clean(u.Path), ""
		l.file = u.Path
	default:
		return bad("expected http://, https:// or file://")
	}
	for name, values := range settings {
		if err := l.set(name, values[len(values)-1]); err != nil {
			return bad("setting %s: %v", name, err)
		}
	}
	return l, nil
}

func (l *location) set(name, value string) (err error) {
	switch name {
	case "priority":
		var n int
		n, err = strconv.Atoi(value)
		l.priority = &n
	case "want-mass-query":
		var b bool
		b, err = parseBool(value)
		l.wantMassQuery = &b
	case "trusted":
		l.trusted, err = parseBool(value)
	case "write-nar-listing":
		l.push.WriteListing, err = parseBool(value)
	case "compression":
		l.push.Compression = value
		err = compress.Check(value, 0)
	case "compression-level":
		l.push.Level, err = strconv.Atoi(value)
	}
	// Others are Nix's settings that mean nothing here (local-nar-cache, parallel-compression, …): a URL that works for
	// Nix should work.
	return err
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true", "yes", "1":
		return true, nil
	case "false", "no", "0":
		return false, nil
	}
	return false, fmt.Errorf("expected true or false, not %q", s)
}
