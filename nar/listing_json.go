package nar

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// errNotUTF8 says that a listing cannot be written: JSON has no way to express such names.
var errNotUTF8 = errors.New("not UTF-8, which a JSON listing cannot express")

// MarshalJSON returns the text of an .ls file, as Nix writes it:
//
//	{"version":1,"root":NODE}
//	NODE = {"type":"regular","size":N,"executable":true,"narOffset":N}     executable only if it is
//	     | {"type":"directory","entries":{NAME:NODE,...}}
//	     | {"type":"symlink","target":TARGET}
//
// It is an error if a name or target is not UTF-8.
func (l *Listing) MarshalJSON() ([]byte, error) {
	if l.Root == nil {
		return nil, errors.New("nar: empty listing")
	}
	b, err := l.Root.appendJSON([]byte(`{"version":1,"root":`))
	if err != nil {
		return nil, err
	}
	return append(b, '}'), nil
}

func (n *ListingNode) appendJSON(b []byte) (_ []byte, err error) {
	b = append(b, `{"type":"`...)
	b = append(b, n.Type.String()...)
	b = append(b, '"')
	switch n.Type {
	case Regular:
		b = append(b, `,"size":`...)
		b = strconv.AppendInt(b, n.Size, 10)
		if n.Executable {
			b = append(b, `,"executable":true`...)
		}
		if n.Offset > 0 {
			b = append(b, `,"narOffset":`...)
			b = strconv.AppendInt(b, n.Offset, 10)
		}
	case Symlink:
		b = append(b, `,"target":`...)
		if b, err = appendJSONString(b, n.Target); err != nil {
			return nil, err
		}
	case Directory:
		b = append(b, `,"entries":{`...)
		for i, child := range n.Entries {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendJSONString(b, child.Name); err != nil {
				return nil, err
			}
			b = append(b, ':')
			if b, err = child.appendJSON(b); err != nil {
				return nil, err
			}
		}
		b = append(b, '}')
	default:
		return nil, fmt.Errorf("nar: listing of %q: no such type: %v", n.Name, n.Type)
	}
	return append(b, '}'), nil
}

func appendJSONString(b []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("nar: listing of %q: %w", s, errNotUTF8)
	}
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"'), nil
}
