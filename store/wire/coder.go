package wire

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"path"
	"reflect"
	"slices"
	"time"

	"larder/store"
)

// Message is a request, a reply or a part of one. Every message has one method
// that says which fields it has in which order, and both sides use it: to write
// them and to read them.
type Message interface {
	code(*coder)
}

// messageName is the name of m's type.
func messageName(m Message) string {
	t := reflect.TypeOf(m)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

// coder passes over the fields of a message. With a Reader it sets them to what
// arrives; without, it appends them to out. The first error ends both.
type coder struct {
	Protocol
	dir store.Dir
	r   *Reader
	out []byte
	err error
}

func (c *coder) reading() bool { return c.r != nil }

func (c *coder) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// unsupported says that a value has no form in the version that was agreed on.
func (c *coder) unsupported(format string, args ...any) {
	c.fail(fmt.Errorf("%s with version %s: %w", fmt.Sprintf(format, args...), c.Version, ErrUnsupported))
}

func (c *coder) word(p *uint64) {
	switch {
	case c.err != nil:
	case c.reading():
		n, err := c.r.word()
		if err != nil {
			c.fail(cut(err))
			return
		}
		*p = n
	default:
		c.out = binary.LittleEndian.AppendUint64(c.out, *p)
	}
}

// number is a word that may not be more than most.
func number[T ~uint8 | ~uint32 | ~uint64](c *coder, p *T, most T) {
	n := uint64(*p)
	c.word(&n)
	if c.err == nil && n > uint64(most) {
		c.fail(fmt.Errorf("%w: %d", ErrRange, n))
	}
	if c.err == nil && c.reading() {
		*p = T(n)
	}
}

// boolean is 0 or 1; like Nix, a reader takes anything else for 1.
func (c *coder) boolean(p *bool) {
	var n uint64
	if *p {
		n = 1
	}
	c.word(&n)
	if c.reading() {
		*p = n != 0
	}
}

// constant is a word that peers do not look at any more.
func (c *coder) constant(n uint64) { c.word(&n) }

// instant is a time in seconds since 1970; 0 is the zero time.
func (c *coder) instant(p *time.Time) {
	var n uint64
	if !c.reading() && !p.IsZero() {
		n = uint64(max(0, p.Unix()))
	}
	number(c, &n, math.MaxInt64)
	if c.err == nil && c.reading() {
		*p = time.Time{}
		if n != 0 {
			*p = time.Unix(int64(n), 0)
		}
	}
}

func (c *coder) text(p *string) {
	switch {
	case c.err != nil:
	case c.reading():
		b, err := c.r.bytes(c.r.limits.String)
		if err != nil {
			c.fail(cut(err))
			return
		}
		*p = string(b)
	default:
		c.out = appendBytes(c.out, *p)
	}
}

func (c *coder) blob(p *[]byte) {
	switch {
	case c.err != nil:
	case c.reading():
		b, err := c.r.bytes(c.r.limits.String)
		if err != nil {
			c.fail(cut(err))
			return
		}
		*p = b
	default:
		c.out = appendBytes(c.out, *p)
	}
}

// textual is a value that travels as a string.
func textual[T any](c *coder, p *T, format func(T) string, parse func(string) (T, error)) {
	var s string
	if !c.reading() {
		s = format(*p)
	}
	c.text(&s)
	if c.err != nil || !c.reading() {
		return
	}
	v, err := parse(s)
	if err != nil {
		c.fail(err)
		return
	}
	*p = v
}

// path is a store path with its store directory. Nix makes it canonical before
// it looks at it, so that dots and double slashes are allowed.
func (c *coder) path(p *store.StorePath) {
	if !c.reading() && p.IsZero() {
		c.fail(fmt.Errorf("there is no store path: %w", ErrRange))
	}
	textual(c, p, c.dir.Join, c.parsePath)
}

// optPath is a store path, or an empty string for none.
func (c *coder) optPath(p *store.StorePath) {
	textual(c, p, func(p store.StorePath) string {
		if p.IsZero() {
			return ""
		}
		return c.dir.Join(p)
	}, func(s string) (store.StorePath, error) {
		if s == "" {
			return store.StorePath{}, nil
		}
		return c.parsePath(s)
	})
}

func (c *coder) parsePath(s string) (store.StorePath, error) {
	if path.IsAbs(s) {
		s = path.Clean(s)
	}
	return c.dir.Parse(s)
}

func (c *coder) paths(p *[]store.StorePath) { list(c, p, (*coder).path) }
func (c *coder) texts(p *[]string)          { list(c, p, (*coder).text) }

// elementCost is what an element takes at least, beside the bytes of its strings.
const elementCost = 24

// count is the length of a list or map.
func (c *coder) count(length int) int {
	n := uint64(length)
	c.word(&n)
	if c.err == nil && c.reading() {
		if n > c.r.limits.List {
			c.fail(ErrTooLong)
		} else if err := c.r.spend(n * elementCost); err != nil {
			c.fail(err)
		}
	}
	if c.err != nil {
		return 0
	}
	return int(n)
}

// list is a number and so many elements. Sets are lists too: their order is kept
// as it is.
func list[T any](c *coder, p *[]T, element func(*coder, *T)) {
	n := c.count(len(*p))
	if !c.reading() {
		for i := range *p {
			element(c, &(*p)[i])
		}
		return
	}
	*p = nil
	for i := 0; i < n && c.err == nil; i++ {
		var e T
		element(c, &e)
		*p = append(*p, e)
	}
}

// dict is a number and so many pairs, sorted by their keys.
func dict[V any](c *coder, p *map[string]V, key func(*coder, *string), value func(*coder, *V)) {
	n := c.count(len(*p))
	if !c.reading() {
		for _, k := range slices.Sorted(maps.Keys(*p)) {
			v := (*p)[k]
			key(c, &k)
			value(c, &v)
		}
		return
	}
	*p = map[string]V{}
	for i := 0; i < n && c.err == nil; i++ {
		var k string
		var v V
		key(c, &k)
		value(c, &v)
		if _, ok := (*p)[k]; ok && c.err == nil {
			c.fail(fmt.Errorf("key %.100q is there twice: %w", k, ErrRange))
		}
		(*p)[k] = v
	}
}

// name is that of a store path or an output.
func (c *coder) name(p *string) {
	c.text(p)
	if c.err == nil && c.reading() {
		if err := store.CheckName(*p); err != nil {
			c.fail(err)
		}
	}
}
