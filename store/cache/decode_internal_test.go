package cache

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"larder/store"
	"larder/store/compress"
	"larder/test/fixture"
)

func encoded(t testing.TB, compression string, level int, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := compress.NewWriter(compression, level, &b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decoded(compression string, data []byte, size uint64) ([]byte, error) {
	d := &lazyDecoder{compression: compression, src: bytes.NewReader(data)}
	defer d.Close()
	r, err := newExactly(d, size)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestBombs(t *testing.T) {
	zeros := make([]byte, 64<<20)
	for _, name := range []string{"xz", "zstd", "gzip", "br"} {
		bomb := encoded(t, name, 1, zeros)
		src := &tracked{r: bytes.NewReader(bomb)}
		d := &lazyDecoder{compression: name, src: src}
		r, err := newExactly(d, 1000)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if n != 1000 || !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), "longer than the 1000 bytes") {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		d.Close()
	}
}

// TestSourceErrorsPassThrough: what is wrong with the source must not be taken for corruption by a decoder.
func TestSourceErrorsPassThrough(t *testing.T) {
	broken := errors.New("broken")
	for _, name := range []string{"none", "xz", "zstd", "gzip", "bzip2", "br"} {
		file := encoded(t, name, 0, bytes.Repeat([]byte("larder "), 1000))
		src := &tracked{r: io.MultiReader(bytes.NewReader(file[:len(file)/2]), errReader{broken})}
		d := &lazyDecoder{compression: name, src: src}
		if _, err := io.Copy(io.Discard, d); err == nil || src.failed() != broken {
			t.Errorf("%s: %v, and the source: %v", name, err, src.failed())
		}
		d.Close()
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestReadAheadEnds(t *testing.T) {
	for range 200 {
		// An endless source, closed at any moment.
		r := newReadAhead(bufio.NewReader(endless{}), 3)
		if _, err := io.CopyN(io.Discard, r, 3*chunkSize); err != nil {
			t.Fatal(err)
		}
		r.Close()
		r.Close()
		if _, err := r.Read(make([]byte, 1)); err == nil {
			t.Fatal("read from a closed readAhead")
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestRedirectPolicy(t *testing.T) {
	request := func(url string) *http.Request {
		r, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, test := range []struct {
		from, to string
		ok       bool
	}{
		{"https://a/", "https://b/", true},
		{"http://a/", "http://b/", true},
		{"http://a/", "https://b/", true},
		{"https://a/", "http://a/", false},
	} {
		err := checkRedirect(request(test.to), []*http.Request{request(test.from)})
		if (err == nil) != test.ok {
			t.Errorf("%s to %s: %v", test.from, test.to, err)
		}
	}
}

func FuzzInfo(f *testing.F) {
	for _, seed := range []string{"", "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n", "junk\n", "<html>", ":\n::\n", "Priority:-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		i, err := ParseInfo(text)
		if err != nil {
			return
		}
		if again, err := ParseInfo(i.Text()); i.StoreDir != "" && (err != nil || again != i) {
			t.Errorf("%+v becomes %+v (%v)", i, again, err)
		}
	})
}

func FuzzDecoder(f *testing.F) {
	names := []string{"none", "br", "xz"} // everything else is recognised, whatever the name says
	root := fixture.Unpack(f, "caches/plain.tar.zst")
	files, err := filepath.Glob(filepath.Join(root, "plain", "compression-*", "nar", "*"))
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds: ", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for i := range names {
			f.Add(uint8(i), uint32(1224), b)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, size uint32, data []byte) {
		size %= 1 << 20
		got, err := decoded(names[int(which)%len(names)], data, uint64(size))
		if err == nil && len(got) != int(size) || len(got) > int(size) {
			t.Errorf("%d bytes instead of %d: %v", len(got), size, err)
		}
	})
}
