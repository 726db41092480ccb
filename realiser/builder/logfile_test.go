package builder

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dsnet/compress/bzip2"
)

// A log is kept in one form, the one of the last build, or not at all.
func TestLogForms(t *testing.T) {
	dir := t.TempDir()
	names := func() (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	for _, c := range []struct {
		path string
		want []string
	}{
		{"", nil},
		{filepath.Join(dir, "log"+CompressedLog), []string{"log.bz2"}},
		{filepath.Join(dir, "log"), []string{"log"}},
		{"", []string{"log"}},
		{filepath.Join(dir, "log"+CompressedLog), []string{"log.bz2"}},
	} {
		l := newLog(c.path, 1)
		l.Write([]byte("raw\r\xff\n"))
		l.Write([]byte("end"))
		if c.path != "" && slices.Contains(names(), filepath.Base(c.path)) {
			t.Errorf("%s is there before it is complete", c.path)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if got := names(); !slices.Equal(got, c.want) {
			t.Fatalf("%q: there are %q, want %q", c.path, got, c.want)
		}
		if c.path == "" {
			continue
		}
		text, err := os.ReadFile(c.path)
		if filepath.Ext(c.path) == CompressedLog {
			z, zerr := bzip2.NewReader(bytes.NewReader(text), nil)
			if zerr != nil {
				t.Fatal(zerr)
			}
			var b bytes.Buffer
			_, err = b.ReadFrom(z)
			text = b.Bytes()
		}
		if err != nil || string(text) != "raw\r\xff\nend" {
			t.Errorf("%s holds %q, %v", c.path, text, err)
		}
	}
}

// A log that can't be stored is an error of Close; the lines are there all the same.
func TestLogThatCantBeStored(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	l := newLog(filepath.Join(file, "log.bz2"), 5)
	if n, err := l.Write([]byte("a\nb\n")); n != 4 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if err := l.Close(); err == nil || !slices.Equal(l.Tail(), []string{"a", "b"}) {
		t.Errorf("%v, last lines %q", err, l.Tail())
	}
}
