package terminal_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"larder/cmd/internal/terminal"
)

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"plain\ttext ż😀":             "plain\ttext ż😀",
		"\x1b[31mred\x1b[0m":         "red",
		"\x1b]0;title\aafter":        "after",
		"\x1b]8;;http://x\x1b\\link": "link",
		"\x1b]52;c;unterminated":     "",
		"\x1bP1;2qsixel\x1b\\after":  "after",
		"\x1bcreset":                 "reset",
		"\x1b[2J\x1b[Hhome":          "home",
		"a\b\x07\x7f\x00b\r\n":       "ab",
		"\u009b31mc1":                "31mc1",
		"\x9b31mbyte":                "\uFFFD31mbyte",
		"\xff\xfe raw":               "\uFFFD raw",
	} {
		if got := terminal.Clean(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestSettle(t *testing.T) {
	for text, want := range map[string]string{
		"10%\r20%\rdone":           "done",
		"progress 1\rprogress 2\r": "progress 2",
		"longer\rab":               "abnger",
		"crlf\r":                   "crlf",
		"\x1b[1mżó\r\x1b[2Kł":      "łó",
		"":                         "",
	} {
		if got := terminal.Settle(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"\x1b[31mred\x1b[0m", "\x1b]0;t\a", "\x1bP\x1b\\", "\xff\u009b", "a\rb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{terminal.Clean(s), terminal.Settle(s)} {
			if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 }) {
				t.Errorf("%q becomes %q", s, got)
			}
		}
	})
}
