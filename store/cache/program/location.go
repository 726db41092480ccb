package program

import (
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// Scheme is that of the URLs of programs.
const Scheme = "exec"

// form is a protocol.
type form string

const (
	formLarder form = "larder" // our own: a session
	formNix    form = "nix"    // Nix 1: a session for queries, a process for each NAR
	formArgv   form = "argv"   // before that: a process for each question
)

// location is a parsed URL.
type location struct {
	program   string
	args      []string
	form      form
	trusted   bool
	inPlace   bool // dest=false
	priority  *int
	processes int
	timeout   time.Duration
	// substituteTimeout is how long --substitute may print nothing: it has nothing to print but a hash at the end.
	substituteTimeout time.Duration
	maxNAR            uint64
}

func parseLocation(text string) (*location, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("substituter: %w", err)
	}
	bad := func(format string, args ...any) (*location, error) {
		return nil, fmt.Errorf("substituter %s: %s", text, fmt.Sprintf(format, args...))
	}
	switch {
	case u.Scheme != Scheme:
		return bad("expected %s:/path/to/program", Scheme)
	case u.Host != "" || u.User != nil:
		return bad("a program has no host: expected %s:/path/to/program", Scheme)
	case u.Opaque != "" || !path.IsAbs(u.Path) || strings.ContainsRune(u.Path, 0):
		return bad("expected an absolute path of a program")
	case u.Fragment != "":
		return bad("it has a fragment %q", u.Fragment)
	}
	settings, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("%v", err)
	}
	l := &location{program: path.Clean(u.Path), form: formLarder, processes: 4, timeout: 5 * time.Minute,
		substituteTimeout: 24 * time.Hour, maxNAR: 64 << 30}
	for name, values := range settings {
		if name == "arg" {
			l.args = values
		} else if err := l.set(name, values[len(values)-1]); err != nil {
			return bad("setting %s: %v", name, err)
		}
	}
	if l.inPlace && l.form != formArgv {
		return bad("setting dest: only for form=argv")
	}
	return l, nil
}

func (l *location) set(name, value string) (err error) {
	switch name {
	case "form":
		l.form = form(value)
		if l.form != formLarder && l.form != formNix && l.form != formArgv {
			err = fmt.Errorf("expected larder, nix or argv, not %q", value)
		}
	case "trusted":
		l.trusted, err = strconv.ParseBool(value)
	case "dest":
		var dest bool
		dest, err = strconv.ParseBool(value)
		l.inPlace = !dest
	case "priority":
		var n int
		n, err = strconv.Atoi(value)
		l.priority = &n
	case "processes":
		if l.processes, err = strconv.Atoi(value); err == nil && (l.processes < 1 || l.processes > 1000) {
			err = fmt.Errorf("expected a number from 1 to 1000, not %s", value)
		}
	case "timeout":
		l.timeout, err = parseSeconds(value)
	case "substitute-timeout":
		l.substituteTimeout, err = parseSeconds(value)
	case "max-nar-size":
		l.maxNAR, err = strconv.ParseUint(value, 10, 63)
	default:
		err = fmt.Errorf("there is no such setting for a program")
	}
	return err
}

func parseSeconds(text string) (time.Duration, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err == nil && n == 0 {
		err = fmt.Errorf("expected a positive number of seconds")
	}
	return time.Duration(n) * time.Second, err
}
