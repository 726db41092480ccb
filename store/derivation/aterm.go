package derivation

import (
	"errors"
	"fmt"
	"strings"

	"larder/store"
)

// The lexical side of the ATerm parser: strings, tuples and lists.

func (p *parser) expect(s string) error {
	if !strings.HasPrefix(p.text[p.pos:], s) {
		if p.pos == len(p.text) {
			return fmt.Errorf("the text ends where %q is expected", s)
		}
		return fmt.Errorf("expected %q", s)
	}
	p.pos += len(s)
	return nil
}

// list reads "[", elements separated by commas, "]".
func (p *parser) list(element func() error) error {
	if err := p.expect("["); err != nil {
		return err
	}
	for first := true; ; first = false {
		if strings.HasPrefix(p.text[p.pos:], "]") {
			p.pos++
			return nil
		}
		if !first {
			if err := p.expect(","); err != nil {
				return err
			}
		}
		if err := element(); err != nil {
			return err
		}
	}
}

// tuple reads "(", as many strings as there are destinations, ")".
func (p *parser) tuple(dst ...*string) error {
	sep := "("
	for _, s := range dst {
		if err := p.expect(sep); err != nil {
			return err
		}
		if err := p.stringInto(s); err != nil {
			return err
		}
		sep = ","
	}
	return p.expect(")")
}

func (p *parser) stringInto(dst *string) (err error) {
	*dst, err = p.str()
	return err
}

func (p *parser) path() (store.StorePath, error) {
	start := p.pos
	s, err := p.str()
	if err != nil {
		return store.StorePath{}, err
	}
	path, err := p.dir.Parse(s)
	if err != nil {
		p.pos = start
	}
	return path, err
}

var errUnterminated = errors.New("a string does not end")

// str reads a quoted string. Only what must be escaped may be.
func (p *parser) str() (string, error) {
	if err := p.expect(`"`); err != nil {
		return "", err
	}
	rest := p.text[p.pos:]
	end := strings.IndexAny(rest, "\"\\\n\r\t")
	if end < 0 {
		return "", errUnterminated
	}
	if rest[end] == '"' {
		p.pos += end + 1
		return rest[:end], nil
	}
	var b strings.Builder
	for {
		b.WriteString(rest[:end])
		p.pos += end
		switch rest[end] {
		case '"':
			p.pos++
			return b.String(), nil
		case '\\':
			c, err := p.escape()
			if err != nil {
				return "", err
			}
			b.WriteByte(c)
		default:
			return "", fmt.Errorf("%q must be escaped", rest[end])
		}
		rest = p.text[p.pos:]
		if end = strings.IndexAny(rest, "\"\\\n\r\t"); end < 0 {
			return "", errUnterminated
		}
	}
}

// escape reads a backslash and what follows it.
func (p *parser) escape() (byte, error) {
	if p.pos+1 == len(p.text) {
		return 0, errUnterminated
	}
	c := p.text[p.pos+1]
	switch c {
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case '"', '\\':
	default:
		return 0, fmt.Errorf("%q needs no escape", c)
	}
	p.pos += 2
	return c, nil
}

// appendString is the inverse of str.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for {
		i := strings.IndexAny(s, "\"\\\n\r\t")
		if i < 0 {
			break
		}
		b = append(append(b, s[:i]...), '\\')
		switch c := s[i]; c {
		case '\n':
			b = append(b, 'n')
		case '\r':
			b = append(b, 'r')
		case '\t':
			b = append(b, 't')
		default:
			b = append(b, c)
		}
		s = s[i+1:]
	}
	return append(append(b, s...), '"')
}

// parseMethodAlgo parses "sha256", "r:sha256", "text:sha256" and "git:sha1".
func parseMethodAlgo(s string) (store.Method, store.HashAlgo, error) {
	method := store.Flat
	name := s
	if rest, ok := strings.CutPrefix(s, "r:"); ok {
		method, name = store.Recursive, rest
	} else if rest, ok := strings.CutPrefix(s, "text:"); ok {
		method, name = store.Text, rest
	} else if rest, ok := strings.CutPrefix(s, "git:"); ok {
		method, name = store.Git, rest
	}
	algo, err := store.ParseHashAlgo(name)
	return method, algo, err
}

func methodAlgo(m store.Method, a store.HashAlgo) string {
	switch m {
	case store.Recursive:
		return "r:" + a.String()
	case store.Text:
		return "text:" + a.String()
	case store.Git:
		return "git:" + a.String()
	}
	return a.String()
}
