package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	maxFile  = 1 << 20 // bytes of one file
	maxDepth = 16      // of files that include files
)

// Error is a configuration that cannot be used.
type Error struct {
	Origin Origin
	Name   string // of the setting, if it is about one
	Err    error
}

func (e *Error) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("%s: %v", e.Origin, e.Err)
	}
	return fmt.Sprintf("%s: setting %s: %v", e.Origin, e.Name, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

func (o Origin) String() string {
	if o.Line == 0 {
		return o.Source
	}
	return fmt.Sprintf("%s:%d", o.Source, o.Line)
}

// Warning is something in a configuration that has no effect.
type Warning struct {
	Origin Origin
	Text   string
}

func (w Warning) String() string { return w.Origin.String() + ": " + w.Text }

// reader applies files to a Config.
type reader struct {
	config   *Config
	warnings []Warning
}

// file applies one file and what it includes.
func (r *reader) file(path string, depth int) error {
	if depth > maxDepth {
		return &Error{Origin: Origin{Source: path}, Err: fmt.Errorf("more than %d files include one another", maxDepth)}
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return err
	}
	if len(text) > maxFile {
		return &Error{Origin: Origin{Source: path}, Err: fmt.Errorf("longer than %d bytes", maxFile)}
	}
	return r.text(string(text), path, depth)
}

func (r *reader) text(text, path string, depth int) error {
	for i, line := range strings.Split(text, "\n") {
		at := Origin{Source: path, Line: i + 1}
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "include" || words[0] == "!include":
			if len(words) != 2 {
				return &Error{Origin: at, Err: fmt.Errorf("expected one file name after %s", words[0])}
			}
			if err := r.include(words[1], words[0] == "!include", at, depth); err != nil {
				return err
			}
		case len(words) < 2 || words[1] != "=":
			return &Error{Origin: at, Err: fmt.Errorf("expected NAME = VALUE, not %q", strings.TrimSpace(line))}
		default:
			if err := r.set(words[0], strings.Join(words[2:], " "), at); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) include(name string, optional bool, at Origin, depth int) error {
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(at.Source), name)
	}
	err := r.file(name, depth+1)
	var ours *Error
	switch {
	case err == nil, optional && errors.Is(err, fs.ErrNotExist) && !errors.As(err, &ours):
		return nil
	case errors.As(err, &ours):
		return err
	}
	return &Error{Origin: at, Err: fmt.Errorf("include: %w", err)}
}

// set applies one setting. An unknown one is a warning.
func (r *reader) set(name, value string, at Origin) error {
	s, more := lookup(name)
	if s == nil {
		r.warnings = append(r.warnings, Warning{at, fmt.Sprintf("unknown setting %q", name)})
		return nil
	}
	if err := s.set(r.config, value, more); err != nil {
		return &Error{Origin: at, Name: s.Name, Err: err}
	}
	if r.config.origins == nil {
		r.config.origins = map[string]Origin{}
	}
	r.config.origins[s.Name] = at
	return nil
}

// lookup finds a setting by any of its names. more: it has "extra-" before it, which appends to a list.
func lookup(name string) (s *Setting, more bool) {
	if s := Lookup(name); s != nil {
		return s, false
	}
	if rest, ok := strings.CutPrefix(name, "extra-"); ok {
		if s := Lookup(rest); s != nil && s.list() {
			return s, true
		}
	}
	return nil, false
}

// Lookup finds a setting by its name or an older one; nil if there is none. It is shared: do not change it.
func Lookup(name string) *Setting {
	for i := range table {
		if table[i].Name == name {
			return &table[i]
		}
		for _, a := range table[i].Aliases {
			if a == name {
				return &table[i]
			}
		}
	}
	return nil
}
