package derivation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// checkJSON refuses what encoding/json would take and change without a word:
// strings that are not Unicode, members that are there twice, and text after the
// end.
func checkJSON(text []byte) error {
	if !utf8.Valid(text) {
		return errNotUTF8
	}
	if err := checkSurrogates(text); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	// The members seen so far of each object around the place; nil in an array.
	var nest []map[string]bool
	key := false // a member's name comes next
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case json.Delim:
			switch t {
			case '{':
				nest = append(nest, map[string]bool{})
			case '[':
				nest = append(nest, nil)
			default:
				nest = nest[:len(nest)-1]
			}
		case string:
			if key {
				seen := nest[len(nest)-1]
				if seen[t] {
					return fmt.Errorf("member %q is there twice", t)
				}
				seen[t] = true
				key = false
				continue
			}
		}
		// After a value, or the start of an object, its next member comes.
		key = len(nest) > 0 && nest[len(nest)-1] != nil
	}
}

// checkSurrogates refuses escapes of half a UTF-16 pair.
func checkSurrogates(text []byte) error {
	half := func(i int) rune {
		if i+6 > len(text) || text[i] != '\\' || text[i+1] != 'u' {
			return 0
		}
		n, err := strconv.ParseUint(string(text[i+2:i+6]), 16, 16)
		if err != nil {
			return 0 // for the decoder to complain about
		}
		return rune(n)
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		if r := half(i); utf16.IsSurrogate(r) {
			if utf16.DecodeRune(r, half(i+6)) == utf8.RuneError {
				return errNotUTF8
			}
			i += 6
		}
		i++ // the character that is escaped
	}
	return nil
}

// jsonOffset is where the decoder stopped, -1 if it does not say.
func jsonOffset(err error) int {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return int(syntax.Offset)
	}
	return -1
}
