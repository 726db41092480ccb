package nar_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"larder/nar"
)

func TestWriterRefuses(t *testing.T) {
	root := &nar.Entry{Type: nar.Directory}
	dir := func(path string) *nar.Entry { return &nar.Entry{Path: path, Type: nar.Directory} }
	file := func(path string) *nar.Entry { return &nar.Entry{Path: path, Type: nar.Regular} }
	link := func(target string) *nar.Entry { return &nar.Entry{Path: "l", Type: nar.Symlink, Target: target} }
	// The last entry of each is wrong.
	for name, entries := range map[string][]*nar.Entry{
		"first not the root":   {file("a")},
		"second root":          {root, root},
		"root is a file":       {file(""), file("a")},
		"duplicate":            {root, file("a"), file("a")},
		"duplicate directory":  {root, dir("a"), file("a/x"), dir("a")},
		"unsorted":             {root, file("b"), file("a")},
		"unsorted after a dir": {root, dir("b"), file("b/c"), file("a")},
		"below a file":         {root, file("a"), file("a/b")},
		"directory not there":  {root, file("a/b")},
		"directory left":       {root, dir("a"), dir("b"), file("a/c")},
		"empty name":           {root, dir("a"), file("a/")},
		"absolute":             {root, file("/a")},
		"dot":                  {root, file(".")},
		"dot dot":              {root, dir("a"), file("a/..")},
		"NUL":                  {root, file("a\x00")},
		"long name":            {root, file(strings.Repeat("n", nar.MaxName+1))},
		"empty target":         {root, link("")},
		"NUL in target":        {root, link("a\x00b")},
		"long target":          {root, link(strings.Repeat("x", nar.MaxTarget+1))},
		"no type":              {root, {Path: "a"}},
		"unknown type":         {root, {Path: "a", Type: 9}},
		"negative size":        {root, {Path: "a", Type: nar.Regular, Size: -1}},
		"contents missing":     {root, {Path: "a", Type: nar.Regular, Size: 1}, file("b")},
	} {
		w := nar.NewWriter(io.Discard)
		for i, e := range entries {
			err := w.WriteEntry(e)
			if (err != nil) != (i == len(entries)-1) {
				t.Errorf("%s: entry %d: %v", name, i, err)
			}
		}
		if err := w.WriteEntry(file("z")); err == nil {
			t.Errorf("%s: goes on after an error", name)
		}
		if err := w.Close(); err == nil {
			t.Errorf("%s: Close reports nothing", name)
		}
	}
}

func TestWriterContents(t *testing.T) {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("contents without a file")
	}
	w.Close()

	w = nar.NewWriter(&b)
	if err := w.WriteEntry(&nar.Entry{Type: nar.Regular, Size: 3}); err != nil {
		t.Fatal(err)
	}
	if w.Offset() != 96 {
		t.Errorf("contents begin at %d, not at 96", w.Offset())
	}
	if _, err := w.Write([]byte("four")); err == nil {
		t.Error("too much was accepted")
	}
	if err := w.Close(); err == nil {
		t.Error("Close reports nothing")
	}

	w = nar.NewWriter(&b)
	if err := w.WriteEntry(&nar.Entry{Type: nar.Regular, Size: 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("xx")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err == nil {
		t.Error("incomplete contents were accepted")
	}
	if b.Len() > 0 {
		t.Error("something was written")
	}

	w = nar.NewWriter(&b)
	if err := w.Close(); err == nil {
		t.Error("an archive without a root was accepted")
	}
	if err := w.WriteEntry(&nar.Entry{Type: nar.Directory}); err == nil {
		t.Error("an entry after Close was accepted")
	}
}

// failingWriter fails when the bytes it takes are used up.
type failingWriter struct {
	left  int
	short bool // say less than asked instead of failing
}

func (w *failingWriter) Write(p []byte) (int, error) {
	n := min(w.left, len(p))
	w.left -= n
	if n < len(p) && !w.short {
		return n, errBoom
	}
	return n, nil
}

func TestWriterPassesErrorsOn(t *testing.T) {
	data := loadGood(t, "content-64k-plus-1")
	archive := bytes.Repeat([]byte("x"), 1<<20)
	for left := 0; left < 1<<20; left += 50_000 {
		for _, short := range []bool{false, true} {
			want := errBoom
			if short {
				want = io.ErrShortWrite
			}
			w := nar.NewWriter(&failingWriter{left: left, short: short})
			if err := w.WriteEntry(&nar.Entry{Type: nar.Regular, Size: int64(len(archive))}); err != nil {
				t.Fatal(err)
			}
			_, err := w.Write(archive)
			if closed := w.Close(); err == nil {
				err = closed
			}
			if !errors.Is(err, want) {
				t.Errorf("after %d bytes: %v", left, err)
			}
			if err := recode(&failingWriter{left: min(left, len(data)-1), short: short}, bytes.NewReader(data)); !errors.Is(err, want) {
				t.Errorf("after %d bytes: %v", left, err)
			}
		}
	}
}
