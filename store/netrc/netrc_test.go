package netrc

import (
	"strings"
	"testing"
)

func TestNetrc(t *testing.T) {
	text := `# a comment with machine words login x
machine one.example login me password secret
machine "two.example"
	login "my name" password "a \"quoted\" \\ word\n"
  account nobody
macdef init
machine evil.example login x password y
	still the macro

machine Three.Example password alone
machine one.example login second password never
unknown word
machine bare.example
default login anonymous password guest
machine late.example login never password reached`
	n := Parse(text)
	for host, want := range map[string]string{
		"one.example":   "me:secret",
		"ONE.EXAMPLE":   "me:secret",
		"two.example":   "my name:a \"quoted\" \\ word\n",
		"three.example": ":alone",
		"evil.example":  "anonymous:guest",
		"late.example":  "anonymous:guest",
		"x.one.example": "anonymous:guest",
		"bare.example":  "none",
		"":              "anonymous:guest",
	} {
		got := "none"
		if login, password, ok := n.Find(host); ok {
			got = login + ":" + password
		}
		if got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
	if _, _, ok := Parse("machine a login b password c").Find("d"); ok {
		t.Error("credentials for a host that is not there")
	}
	if _, _, ok := Parse("login b password c machine").Find(""); ok {
		t.Error("credentials without a machine")
	}
}

func FuzzNetrc(f *testing.F) {
	for _, seed := range []string{
		"machine a login b password c", "default login x", "macdef m\nfoo\n\nmachine a login b", "machine \"a b\" login \"\\\"\"",
		"# machine a\nmachine b password c", "machine", "\"", "\"\\", "login a password b machine c", "\x00\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n := Parse(text)
		if len(n.entries) > strings.Count(text, "machine")+strings.Count(text, "default") && !strings.Contains(text, "\"") {
			t.Errorf("%d entries", len(n.entries))
		}
		for _, e := range n.entries {
			// Nothing is longer than the text, and what is found is what was parsed.
			if len(e.machine)+len(e.login)+len(e.password) > len(text) {
				t.Errorf("%+v is longer than the text", e)
			}
			if login, password, ok := n.Find(e.machine); ok && login == "" && password == "" {
				t.Error("found nothing")
			}
		}
	})
}
