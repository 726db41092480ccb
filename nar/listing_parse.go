package nar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrListing is what errors about the text of a listing wrap.
var ErrListing = errors.New("malformed NAR listing")

// maxListingFields bounds the fields of a node, unknown ones included.
const maxListingFields = 64

// ParseListing parses the text of an .ls file. Unknown fields are ignored, so that it reads what newer versions of Nix
// write; anything else that MarshalJSON would not write is an error that wraps ErrListing, duplicate and invalid names
// included. Memory is proportional to the text, whose size it is the caller's business to bound.
func ParseListing(text []byte) (*Listing, error) {
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrListing)
	}
	p := listingParser{json.NewDecoder(bytes.NewReader(text))}
	p.UseNumber()
	l, err := p.listing()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%w: %w", ErrListing, err)
	}
	return l, nil
}

// listingParser reads a listing token by token: entries are an object, and decoding one into a map would neither notice
// duplicates nor bound the depth.
type listingParser struct{ *json.Decoder }

func (p listingParser) listing() (*Listing, error) {
	l := &Listing{}
	version := ""
	err := p.object(func(key string) (err error) {
		switch key {
		case "version":
			version, err = p.number()
		case "root":
			l.Root, err = p.node(0)
		default:
			err = p.skip()
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case version != "1":
		return nil, fmt.Errorf("version %q, not 1", version)
	case l.Root == nil:
		return nil, errors.New("no root")
	}
	if _, err := p.Token(); err != io.EOF {
		return nil, errors.New("something follows it")
	}
	return l, nil
}

// node parses a node that is inside of depth directories.
func (p listingParser) node(depth int) (*ListingNode, error) {
	n := &ListingNode{}
	var typ string
	var fields []string // apart from the type
	err := p.object(func(key string) (err error) {
		switch key {
		case "type":
			typ, err = p.string()
			return err
		case "size":
			n.Size, err = p.size()
		case "narOffset":
			n.Offset, err = p.size()
		case "executable":
			n.Executable, err = p.bool()
		case "target":
			n.Target, err = p.string()
		case "entries":
			n.Entries, err = p.entries(depth + 1)
		default:
			return p.skip()
		}
		fields = append(fields, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return n, n.setType(typ, fields)
}

// setType checks that the fields of a node are those of its type.
func (n *ListingNode) setType(typ string, fields []string) error {
	var required string
	var optional []string
	switch typ {
	case "regular":
		n.Type, required, optional = Regular, "size", []string{"narOffset", "executable"}
	case "symlink":
		n.Type, required = Symlink, "target"
		if reason := checkTarget(n.Target); reason != "" {
			return errors.New(reason)
		}
	case "directory":
		n.Type, required = Directory, "entries"
	default:
		return fmt.Errorf("type %q", typ)
	}
	if !slices.Contains(fields, required) {
		return fmt.Errorf("%s without %q", typ, required)
	}
	for _, field := range fields {
		if field != required && !slices.Contains(optional, field) {
			return fmt.Errorf("%s with %q", typ, field)
		}
	}
	return nil
}

func (p listingParser) entries(depth int) ([]*ListingNode, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("directories are nested more than %d deep", MaxDepth)
	}
	var entries []*ListingNode
	sorted := true
	err := p.unorderedObject(func(name string) error {
		if reason := checkName([]byte(name)); reason != "" {
			return errors.New(reason)
		}
		n, err := p.node(depth)
		if err != nil {
			return err
		}
		n.Name = name
		sorted = sorted && (len(entries) == 0 || entries[len(entries)-1].Name < name)
		entries = append(entries, n)
		return nil
	})
	if err != nil || sorted {
		return entries, err
	}
	// The members of a JSON object have no order.
	slices.SortFunc(entries, func(a, b *ListingNode) int { return strings.Compare(a.Name, b.Name) })
	for i := range len(entries) - 1 {
		if entries[i].Name == entries[i+1].Name {
			return nil, fmt.Errorf("file name %q appears twice in a directory", entries[i].Name)
		}
	}
	return entries, nil
}

// object parses an object of few members, all different, and calls member when the parser stands before a value.
func (p listingParser) object(member func(key string) error) error {
	var seen []string
	return p.unorderedObject(func(key string) error {
		if len(seen) == maxListingFields {
			return fmt.Errorf("more than %d fields", maxListingFields)
		}
		if slices.Contains(seen, key) {
			return fmt.Errorf("field %q appears twice", key)
		}
		seen = append(seen, key)
		return member(key)
	})
}

// unorderedObject is object without the check for duplicates.
func (p listingParser) unorderedObject(member func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	for p.More() {
		key, err := p.string()
		if err != nil {
			return err
		}
		if err := member(key); err != nil {
			return err
		}
	}
	return p.delim('}')
}

func (p listingParser) delim(want json.Delim) error {
	_, err := token[json.Delim](p, "'"+want.String()+"'", func(d json.Delim) bool { return d == want })
	return err
}

func (p listingParser) string() (string, error) { return token[string](p, "a string", nil) }

func (p listingParser) bool() (bool, error) { return token[bool](p, "true or false", nil) }

func (p listingParser) number() (string, error) {
	n, err := token[json.Number](p, "a number", nil)
	return n.String(), err
}

func (p listingParser) size() (int64, error) {
	text, err := p.number()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a size", text)
	}
	return n, nil
}

// token reads a token of type T. The description is for the error.
func token[T json.Token](p listingParser, description string, ok func(T) bool) (T, error) {
	at := p.InputOffset()
	tok, err := p.Token()
	if err != nil {
		var zero T
		return zero, err
	}
	v, is := tok.(T)
	if !is || ok != nil && !ok(v) {
		return v, fmt.Errorf("at byte %d: %v where %s should be", at, tok, description)
	}
	return v, nil
}

// skip reads a value of any kind.
func (p listingParser) skip() error {
	for depth := 0; ; {
		tok, err := p.Token()
		if err != nil {
			return err
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
