// Package terminal makes text of unknown origin fit for a terminal: what builders, caches and file names say must not move
// the cursor, set the title, paste keys, or hide what was printed before.
package terminal

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Clean returns one line of text without escape sequences and control characters, except tabs.
func Clean(line string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r >= ' ' && r != 0x7f && !(r >= 0x80 && r < 0xa0) {
			return r
		}
		return -1
	}, ansi.Strip(strings.ToValidUTF8(line, "\uFFFD")))
}

// Settle returns what a terminal would show at last of a line in which carriage returns began to overwrite it, such as the
// progress of a download, and cleans it.
func Settle(line string) string {
	var shown []rune
	for part := range strings.SplitSeq(line, "\r") {
		text := []rune(Clean(part))
		if len(text) < len(shown) {
			text = append(text, shown[len(text):]...)
		}
		shown = text
	}
	return string(shown)
}
