package nar_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"larder/nar"
)

func TestReaderEntries(t *testing.T) {
	data := loadGood(t, "mixed")
	r := nar.NewReader(bytes.NewReader(data))
	want := []nar.Entry{
		{Path: "", Type: nar.Directory},
		{Path: "bin", Type: nar.Directory},
		{Path: "bin/link", Type: nar.Symlink, Target: "tool"},
		{Path: "bin/tool", Type: nar.Regular, Executable: true, Size: 15},
		{Path: "dangling", Type: nar.Symlink, Target: "nowhere"},
		{Path: "empty", Type: nar.Regular},
		{Path: "share", Type: nar.Directory},
		{Path: "share/doc", Type: nar.Directory},
		{Path: "share/doc/README", Type: nar.Regular, Size: 8},
	}
	for _, want := range want {
		if err := r.ExpectEOF(); err == nil {
			t.Error("ExpectEOF in the middle")
		}
		e, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if want.Type == nar.Regular {
			want.Offset = r.Offset()
		}
		if *e != want {
			t.Errorf("%+v, want %+v", *e, want)
		}
		contents, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(contents, data[e.Offset:e.Offset+e.Size]) {
			t.Errorf("%q: contents %q, %v", e.Path, contents, err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%q: read %d, %v behind the contents", e.Path, n, err)
		}
	}
	for range 2 {
		if e, err := r.Next(); err != io.EOF {
			t.Errorf("%+v, %v at the end", e, err)
		}
	}
	if err := r.ExpectEOF(); err != nil {
		t.Error(err)
	}
	if r.Offset() != int64(len(data)) {
		t.Errorf("offset %d, the archive has %d bytes", r.Offset(), len(data))
	}
}

// Contents that are read in part, or not at all, are skipped.
func TestReaderSkips(t *testing.T) {
	for part := range 20 {
		r := nar.NewReader(iotest.HalfReader(bytes.NewReader(loadGood(t, "sizes-0-to-17"))))
		for i := -1; ; i++ {
			e, err := r.Next()
			if err == io.EOF {
				if i != 18 {
					t.Errorf("%d files, want 18", i)
				}
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			n, _ := io.ReadFull(r, make([]byte, part))
			if n != min(part, int(e.Size)) {
				t.Fatalf("%q: read %d of %d bytes, of %d", e.Path, n, part, e.Size)
			}
		}
	}
}

// A *bufio.Reader stands behind the archive when it has been read.
func TestReaderEmbedded(t *testing.T) {
	one, two := loadGood(t, "mixed"), loadGood(t, "symlink")
	stream := bufio.NewReaderSize(bytes.NewReader(bytes.Join([][]byte{one, []byte("between"), two}, nil)), 16)
	readAll := func() {
		t.Helper()
		r := nar.NewReader(stream)
		for {
			if _, err := r.Next(); err == io.EOF {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	readAll()
	between := make([]byte, len("between"))
	if _, err := io.ReadFull(stream, between); err != nil || string(between) != "between" {
		t.Fatalf("%q, %v", between, err)
	}
	readAll()
	if _, err := stream.ReadByte(); err != io.EOF {
		t.Error(err)
	}
}

var errBoom = errors.New("boom")

// Wherever the stream fails, that very error comes out, and again from then on.
func TestReaderPassesErrorsOn(t *testing.T) {
	data := loadGood(t, "mixed")
	for i := range len(data) + 1 {
		for _, broken := range []error{errBoom, io.ErrUnexpectedEOF} {
			err := recode(io.Discard, io.MultiReader(bytes.NewReader(data[:i]), iotest.ErrReader(broken)))
			var malformed *nar.FormatError
			if !errors.Is(err, broken) || errors.As(err, &malformed) {
				t.Errorf("after %d bytes: %v", i, err)
			}
		}
		r := nar.NewReader(bytes.NewReader(data[:i]))
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if i == len(data) {
			if err != io.EOF {
				t.Error(err)
			}
			continue
		}
		var malformed *nar.FormatError
		if !errors.As(err, &malformed) || malformed.Offset != int64(i) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("truncated to %d bytes: %v", i, err)
		}
		if _, again := r.Next(); again != err {
			t.Errorf("truncated to %d bytes: %v, then %v", i, err, again)
		}
		if _, again := r.Read(make([]byte, 1)); again != err {
			t.Errorf("truncated to %d bytes: %v, Read then %v", i, err, again)
		}
	}
}

func TestFormatErrorOffset(t *testing.T) {
	for name, want := range map[string]int64{
		"magic-wrong": 0, "magic-only": 24, "no-open-paren": 24, "type-unknown": 56, "type-case": 56,
		"padding-contents": 97, "padding-last-byte": 103, "extra-close-paren": 120, "trailing-garbage": 120,
		"names-duplicate": 320, "name-dotdot": 128, "length-2^63": 88, "length-name-2^62": 128,
	} {
		err := recode(io.Discard, bytes.NewReader(loadNARs(t, "bad", 141)[name]))
		var malformed *nar.FormatError
		if !errors.As(err, &malformed) || malformed.Offset != want {
			t.Errorf("%s: %v, want it at byte %d", name, err, want)
		}
	}
}

// rawChain is an archive of directories that are nested to a depth, all with this name, whether that is allowed or not.
func rawChain(depth int, name string) []byte {
	word := func(s string) string {
		return string([]byte{byte(len(s)), 0, 0, 0, 0, 0, 0, 0}) + s + strings.Repeat("\x00", -len(s)&7)
	}
	dir := word("(") + word("type") + word("directory")
	in := word("entry") + word("(") + word("name") + word(name) + word("node")
	out := word(")") + word(")")
	return []byte(word("nix-archive-1") + strings.Repeat(dir+in, depth-1) + dir + word(")") + strings.Repeat(out, depth-1))
}

func TestReaderLimits(t *testing.T) {
	var malformed *nar.FormatError
	if err := recode(io.Discard, bytes.NewReader(rawChain(nar.MaxDepth, "d"))); err != nil {
		t.Error(err)
	}
	if err := recode(io.Discard, bytes.NewReader(rawChain(nar.MaxDepth+1, "d"))); !errors.As(err, &malformed) {
		t.Errorf("too deep: %v", err)
	}
	long := strings.Repeat("n", nar.MaxName)
	fits := nar.MaxPath/(nar.MaxName+1) + 1 // the root has no name
	if err := recode(io.Discard, bytes.NewReader(rawChain(fits, long))); err != nil {
		t.Error(err)
	}
	if err := recode(io.Discard, bytes.NewReader(rawChain(fits+1, long))); !errors.As(err, &malformed) {
		t.Errorf("path too long: %v", err)
	}
}

// heapGrowth returns by how many bytes the heap grew while work ran, garbage aside, as seen by the calls of its argument.
func heapGrowth(work func(look func())) int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	before, most := int64(stats.HeapAlloc), int64(0)
	work(func() {
		runtime.GC()
		runtime.ReadMemStats(&stats)
		most = max(most, int64(stats.HeapAlloc)-before)
	})
	return most
}

// Neither many entries, nor large contents, nor lengths that are only claimed cost memory.
func TestReaderMemory(t *testing.T) {
	const entries, limit = 200_000, 2 << 20
	pipe, feed := io.Pipe()
	go func() {
		w := nar.NewWriter(feed)
		err := w.WriteEntry(&nar.Entry{Type: nar.Directory})
		for i := 0; err == nil && i < entries; i++ {
			err = w.WriteEntry(&nar.Entry{Path: strconv.Itoa(1_000_000 + i), Type: nar.Symlink, Target: "x"})
		}
		if err == nil {
			err = w.Close()
		}
		feed.CloseWithError(err)
	}()
	growth := heapGrowth(func(look func()) {
		r := nar.NewReader(pipe)
		for i := 0; ; i++ {
			_, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if i%(entries/4) == entries/4-1 {
				look()
			}
		}
	})
	if growth > limit {
		t.Errorf("%d entries: the heap grew by %d bytes", entries, growth)
	}
	for name, data := range loadNARs(t, "bad", 141) {
		if !strings.HasPrefix(name, "length-") && name != "magic-long-length" {
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := recode(io.Discard, bytes.NewReader(data)); err == nil {
			t.Errorf("%s was accepted", name)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > limit {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, folder := range []string{"good", "bad"} {
		for _, data := range loadNARs(f, folder, map[string]int{"good": 32, "bad": 141}[folder]) {
			if len(data) < 4096 {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var again bytes.Buffer
		err := recode(&again, bytes.NewReader(data))
		var malformed *nar.FormatError
		switch {
		case err == nil && !bytes.Equal(again.Bytes(), data):
			t.Fatal("accepted, but it is not what the Writer makes of it")
		case err != nil && !errors.As(err, &malformed):
			t.Fatalf("refused for another reason: %v", err)
		case err != nil && (malformed.Offset < 0 || malformed.Offset > int64(len(data))):
			t.Fatalf("offset %d in %d bytes", malformed.Offset, len(data))
		}
	})
}
