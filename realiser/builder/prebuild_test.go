package builder

import (
	"slices"
	"strings"
	"testing"

	"larder/sandbox"
)

func TestParseHookOutput(t *testing.T) {
	mount := func(target, source string) sandbox.Mount { return sandbox.Mount{Source: source, Target: target} }
	for text, want := range map[string][]sandbox.Mount{
		"": nil,
		"extra-sandbox-paths\n/dev/nvidia0\n/in=/out//x\n\n":             {mount("/dev/nvidia0", "/dev/nvidia0"), mount("/in", "/out/x")},
		"extra-chroot-dirs\n/a\n\nextra-sandbox-paths\n/b\n":             {mount("/a", "/a"), mount("/b", "/b")},
		"extra-sandbox-paths\n\nextra-sandbox-paths\n/with space=/a=b\n": {mount("/with space", "/a=b")},
	} {
		if got, err := parseHookOutput(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"nonsense\n":                           "unknown pre-build hook command 'nonsense'",
		"\n":                                   "unknown pre-build hook command ''",
		"extra-sandbox-paths\n/a\n\n/b\n":      "unknown pre-build hook command '/b'",
		"extra-sandbox-paths\n/a":              "incomplete: '/a'",
		"extra-sandbox-paths\na\n":             "not absolute: 'a'",
		"extra-sandbox-paths\n/a=b\n":          "not absolute: '/a=b'",
		"extra-sandbox-paths\n=/b\n":           "not absolute: '=/b'",
		"extra-sandbox-paths\r\n/a\r\n\r\n":    "unknown pre-build hook command 'extra-sandbox-paths\r'",
		"extra-sandbox-paths \n/a\n\n":         "unknown pre-build hook command 'extra-sandbox-paths '",
		"extra-sandbox-paths\n/a\n\n\nmore\n":  "unknown pre-build hook command ''",
		"extra-sandbox-paths\n/a\n\nextra-...": "incomplete",
	} {
		if got, err := parseHookOutput(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func FuzzParseHookOutput(f *testing.F) {
	f.Add("extra-sandbox-paths\n/dev/nvidia0\n/in=/out\n\n")
	f.Add("extra-chroot-dirs\n\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		mounts, err := parseHookOutput(text)
		if err != nil {
			return
		}
		for _, m := range mounts {
			if !strings.HasPrefix(m.Source, "/") || !strings.HasPrefix(m.Target, "/") {
				t.Errorf("%q: %+v", text, m)
			}
		}
	})
}
