package wire

import (
	"fmt"
	"math"
	"strings"
)

// Error is a daemon's answer that a request failed. The connection can still be
// used, unless the error was about the request's form.
type Error struct {
	Level   Verbosity
	Name    string // since 1.26; only ever "Error" in newer versions of Nix
	Message string // may hold escape sequences for colours; before 1.26 it begins with "error: "
	Traces  []string
	Status  uint32 // before 1.26: the exit status that the client is to end with
}

// Error is the message without colours.
func (e *Error) Error() string { return strings.TrimPrefix(plain(e.Message), "error: ") }

func (*Error) tag() uint64 { return tagError }

func (e *Error) code(c *coder) {
	if !c.Version.Since(26) {
		c.text(&e.Message)
		number(c, &e.Status, math.MaxUint32)
		return
	}
	kind, name := "Error", e.Name
	if name == "" {
		name = kind
	}
	c.text(&kind)
	if c.err == nil && kind != "Error" {
		c.fail(fmt.Errorf("%w: error of type %.100q", ErrRange, kind))
	}
	c.verbosity(&e.Level)
	c.text(&name)
	if c.reading() {
		e.Name = name
	}
	c.text(&e.Message)
	c.noPosition()
	list(c, &e.Traces, func(c *coder, hint *string) {
		c.noPosition()
		c.text(hint)
	})
}

// noPosition says that there is no position in a source file. There is no form for
// one: daemons do not evaluate.
func (c *coder) noPosition() {
	var have uint8
	number(c, &have, 0)
}

// plain removes the escape sequences that set colours.
func plain(s string) string {
	var b strings.Builder
	for {
		text, rest, ok := strings.Cut(s, "\x1b[")
		b.WriteString(text)
		if !ok {
			return b.String()
		}
		if s = strings.TrimLeft(rest, "0123456789;"); s != "" {
			s = s[1:]
		}
	}
}
