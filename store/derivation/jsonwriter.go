package derivation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// jsonWriter prints JSON with the escapes that Nix uses, which are fewer than
// those of encoding/json. After an error its text is useless.
type jsonWriter struct {
	buf []byte
	err error
}

// object prints the members that body prints by key and one value each.
func (w *jsonWriter) object(body func()) {
	w.buf = append(w.buf, '{')
	body()
	w.buf = append(w.buf, '}')
}

func (w *jsonWriter) key(k string) {
	if w.buf[len(w.buf)-1] != '{' {
		w.buf = append(w.buf, ',')
	}
	w.string(k)
	w.buf = append(w.buf, ':')
}

// optional prints a member unless it is empty.
func (w *jsonWriter) optional(k, v string) {
	if v != "" {
		w.key(k)
		w.string(v)
	}
}

func (w *jsonWriter) raw(text []byte) { w.buf = append(w.buf, text...) }

func (w *jsonWriter) strings(list []string) {
	w.buf = appendList(w.buf, list, func(b []byte, s string) []byte {
		w.buf = b
		w.string(s)
		return w.buf
	})
}

func (w *jsonWriter) string(s string) {
	if w.err == nil && !utf8.ValidString(s) {
		w.err = errNotUTF8
	}
	w.buf = append(w.buf, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			w.buf = append(w.buf, '\\', c)
		case c == '\n':
			w.buf = append(w.buf, '\\', 'n')
		case c == '\r':
			w.buf = append(w.buf, '\\', 'r')
		case c == '\t':
			w.buf = append(w.buf, '\\', 't')
		case c < ' ':
			w.buf = fmt.Appendf(w.buf, `\u%04x`, c)
		default:
			w.buf = append(w.buf, c)
		}
	}
	w.buf = append(w.buf, '"')
}

// canonicalJSON prints an object as the evaluator prints structured attributes:
// members sorted, no white space. Numbers stay as they are written.
func canonicalJSON(text []byte) ([]byte, error) {
	if err := checkJSON(text); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, ok := v.(map[string]any); !ok {
		return nil, errors.New("not a JSON object")
	}
	w := &jsonWriter{}
	w.value(v)
	return w.buf, w.err
}

func (w *jsonWriter) value(v any) {
	switch v := v.(type) {
	case map[string]any:
		w.object(func() {
			for _, k := range slices.Sorted(maps.Keys(v)) {
				w.key(k)
				w.value(v[k])
			}
		})
	case []any:
		w.buf = appendList(w.buf, v, func(b []byte, e any) []byte {
			w.buf = b
			w.value(e)
			return w.buf
		})
	case string:
		w.string(v)
	case json.Number:
		w.raw([]byte(v))
	case bool:
		w.buf = fmt.Append(w.buf, v)
	case nil:
		w.raw([]byte("null"))
	}
}
