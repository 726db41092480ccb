package program_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"larder/store"
	"larder/store/cache/program"
)

// Whatever a program prints, the answer is an error within its timeout, no more memory than it has sent, and no process left.
func TestHostilePrograms(t *testing.T) {
	o := newObject(t, store.DefaultDir, "hello", strings.Repeat("some text\n", 100))
	other := newObject(t, store.DefaultDir, "other", "text\n")
	at, otherAt := o.files(t, store.DefaultDir), other.files(t, store.DefaultDir)
	size := number(len(o.nar))
	for _, c := range []struct {
		name, changes string
		corrupt       bool
		text          string
	}{
		{"no such greeting", "hello() { echo hi there; }", true, `greets with "hi there"`},
		{"a later version", "hello() { echo hello 2; echo; }", true, "hello 1"},
		{"an endless greeting", "hello() { echo hello 1; yes Priority: 1 | head -n 100000; }", true, "longer than 64 lines"},
		{"a bad priority", `hello() { printf 'hello 1\nPriority: many\n\n'; }`, false, "Priority"},
		{"no greeting", "hello() { sleep 1000; }", false, "printed nothing for 1s"},
		{"failure at the start", "exit 7", false, "exit status 7"},
		{"killed at the start", "kill -9 $$", false, "killed"},
		{"silence", "info() { sleep 1000; }", false, "printed nothing for 1s"},
		{"an endless line", "info() { yes | tr -d '\\n'; }", true, "a line of more than 4096 bytes"},
		{"other words", "info() { echo yes; }", true, `answers "yes"`},
		{"a huge narinfo", "info() { echo ok 99999999999; yes; }", true, "at most"},
		{"a negative length", "info() { echo ok -1; }", true, `"-1"`},
		{"no length", "info() { echo ok; }", true, "at most"},
		{"less than announced", "info() { echo ok 4000000; echo StorePath; exit; }", false, "in the middle of an answer"},
		{"no narinfo", "info() { echo ok 6; echo hello; }", true, "narinfo"},
		{"another path", "info() { echo ok $(($(wc -c <" + otherAt + "/info))); cat " + otherAt + "/info; }", true, "is about " + other.path},
		{"the end instead of an answer", "info() { exit 0; }", false, "it ended"},
		{"no chunk", "nar() { echo ok; echo x; }", true, `"x" in the place of the length`},
		{"a chunk that is too long", "nar() { echo ok; echo 99999999; cat /dev/zero; }", true, "longer than"},
		{"a NAR that is too long", "nar() { echo ok; echo " + size + "; cat $at/nar; echo 1; echo; }", true, "longer than"},
		{"a NAR that is too short", "nar() { echo ok; echo 10; head -c 10 $at/nar; echo 0; }", true, "ends after 10 bytes"},
		{"half a chunk", "nar() { echo ok; echo 100; head -c 10 $at/nar; exit; }", false, "in the middle of an answer"},
		{"silence in a chunk", "nar() { echo ok; echo 100; sleep 1000; }", false, "printed nothing for 1s"},
		{"a daemon that holds on to everything", "info() { setsid sleep 3 & sleep 0.2; exit 1; }", false, "looking up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := open(t, script(t, serve(at, c.changes), "timeout=1"), program.Options{})
			begin := time.Now()
			got, err := fetch(t, p, o.info.Path)
			if err == nil {
				t.Fatalf("no error, %d bytes", len(got))
			}
			if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrCorrupt) != c.corrupt || !strings.Contains(err.Error(), c.text) {
				t.Errorf("corrupt %v: %v\nexpected %v with %q", errors.Is(err, store.ErrCorrupt), err, c.corrupt, c.text)
			}
			if took := time.Since(begin); took > 15*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// What can't be started is tried again after a while, not for each path.
func TestBrokenProgramIsLeftAlone(t *testing.T) {
	o := newObject(t, store.DefaultDir, "hello", "some text\n")
	p := open(t, "exec:/nonexistent/program", program.Options{})
	for _, text := range []string{"no such file", "left alone"} {
		if _, err := p.NarInfo(t.Context(), o.info.Path); err == nil || errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, expected %q", err, text)
		}
	}
	p = open(t, "exec:/nonexistent/program", program.Options{DownTime: time.Nanosecond})
	for range 2 {
		if _, err := p.NarInfo(t.Context(), o.info.Path); err == nil || strings.Contains(err.Error(), "left alone") {
			t.Errorf("%v", err)
		}
	}
}

func TestBadURLs(t *testing.T) {
	for url, text := range map[string]string{
		"http://host/":                       "expected exec:",
		"exec:program":                       "absolute path",
		"exec://host/program":                "no host",
		"exec:/program#x":                    "fragment",
		"exec:/program?form=carrier-pigeon":  "carrier-pigeon",
		"exec:/program?processes=0":          "processes",
		"exec:/program?timeout=0":            "timeout",
		"exec:/program?speed=9":              "no such setting",
		"exec:/program?dest=false":           "only for form=argv",
		"exec:/program?form=nix":             "trusted=true",
		"exec:/program?form=argv":            "trusted=true",
		"exec:/p?form=argv&trusted=1&dest=0": "makes objects in /nix/store",
	} {
		_, err := program.Open(url, program.Options{Policy: signed, TempDir: t.TempDir(), ObjectDir: "/elsewhere"})
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, expected %q", url, err, text)
		}
	}
}
