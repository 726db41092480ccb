package config

import (
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Setting is one row of the table: what a name in larder.conf means.
type Setting struct {
	Name    string
	Aliases []string // older or shorter names that nix.conf knows too
	Default string   // as it would stand in the file
	Doc     string   // sentences, for people
	check   func(string) error
	field   func(*Config) any // pointer to the value; its type says how text is read
}

// Type is the kind of the value, in a word for people.
func (s *Setting) Type() string {
	switch s.field(&Config{}).(type) {
	case *bool:
		return "true or false"
	case *[]string:
		return "list"
	case *time.Duration:
		return "seconds"
	case *Count:
		return "number"
	case *Size:
		return "bytes"
	}
	return "text"
}

// Get prints the value in c as it would stand in the file.
func (s *Setting) Get(c *Config) string {
	switch v := s.field(c).(type) {
	case *bool:
		return strconv.FormatBool(*v)
	case *[]string:
		return strings.Join(*v, " ")
	case *time.Duration:
		return strconv.FormatInt(int64(*v/time.Second), 10)
	case *Count:
		return strconv.Itoa(int(*v))
	case *Size:
		return strconv.FormatInt(int64(*v), 10)
	case *string:
		return *v
	}
	panic("config: setting of unknown type")
}

// Value is the value in c as JSON should have it.
func (s *Setting) Value(c *Config) any {
	switch v := s.field(c).(type) {
	case *bool:
		return *v
	case *[]string:
		return append([]string{}, *v...)
	case *time.Duration:
		return int64(*v / time.Second)
	case *Count:
		return int(*v)
	case *Size:
		return int64(*v)
	case *string:
		return *v
	}
	panic("config: setting of unknown type")
}

// list reports whether "extra-" can stand before the name.
func (s *Setting) list() bool {
	_, ok := s.field(&Config{}).(*[]string)
	return ok
}

// set reads text into c. The error says only what is wrong with the value.
func (s *Setting) set(c *Config, text string, more bool) error {
	if s.check != nil {
		words := []string{text}
		if s.list() {
			words = strings.Fields(text)
		}
		for _, w := range words {
			if err := s.check(w); err != nil {
				return err
			}
		}
	}
	switch v := s.field(c).(type) {
	case *bool:
		return parseBool(v, text)
	case *[]string:
		words := strings.Fields(text)
		if more {
			words = append(append([]string{}, *v...), words...)
		}
		*v = words
	case *time.Duration:
		n, err := parseNumber(text, math.MaxInt64/int64(time.Second))
		if err != nil {
			return err
		}
		*v = time.Duration(n) * time.Second
	case *Count:
		if text == "auto" {
			*v = Count(runtime.NumCPU())
			return nil
		}
		n, err := parseNumber(text, math.MaxInt32)
		if err != nil {
			return err
		}
		*v = Count(n)
	case *Size:
		n, err := ParseSize(text)
		if err != nil {
			return err
		}
		*v = Size(n)
	case *string:
		*v = text
	default:
		panic("config: setting of unknown type")
	}
	return nil
}

func parseBool(v *bool, text string) error {
	switch text {
	case "true", "yes", "1":
		*v = true
	case "false", "no", "0":
		*v = false
	default:
		return fmt.Errorf("%q is neither true nor false", text)
	}
	return nil
}

func parseNumber(text string, most int64) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%q is not a number from 0 to %d", text, most)
	}
	return n, nil
}

// ParseSize reads a number of bytes, perhaps with K, M, G or T for powers of 1024.
func ParseSize(text string) (int64, error) {
	digits, shift := text, 0
	if i := len(text) - 1; i > 0 {
		if k := strings.IndexByte("KMGT", text[i]&^0x20); k >= 0 {
			digits, shift = text[:i], 10*(k+1)
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q is not a size: a number, perhaps with K, M, G or T", text)
	}
	return n << shift, nil
}
