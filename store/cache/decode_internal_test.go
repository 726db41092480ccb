package cache

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
	"larder/store"
	"larder/test/fixture"
)

func encoded(t testing.TB, compression string, level int, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := encoder(compression, level, &b)
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

func TestEncodersAndLevels(t *testing.T) {
	data := bytes.Repeat([]byte("larder "), 3000)
	for name, e := range encoders {
		for level := e.low; level <= e.high; level++ {
			for _, data := range [][]byte{data, nil} {
				got, err := decoded(name, encoded(t, name, level, data), uint64(len(data)))
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s level %d, %d bytes: %v", name, level, len(data), err)
				}
			}
		}
	}
}

// TestXZAgreesWithOthers compares with an independent implementation and with xz itself, both ways.
func TestXZAgreesWithOthers(t *testing.T) {
	data := bytes.Repeat([]byte("larder, a store that fills itself; "), 20_000)
	ours := encoded(t, "xz", 6, data)
	r, err := xz.NewReader(bytes.NewReader(ours))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("another reader: %v", err)
	}
	var theirs bytes.Buffer
	w, err := xz.NewWriter(&theirs)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(data)
	w.Close()
	for name, file := range map[string][]byte{
		"another writer":   theirs.Bytes(),
		"two streams":      append(bytes.Clone(theirs.Bytes()), encoded(t, "xz", 0, nil)...),
		"stream padding":   append(bytes.Clone(ours), 0, 0, 0, 0),
		"several blocks":   runXZ(t, data, "--block-size=100000"),
		"without checksum": runXZ(t, data, "--check=none"),
		"sha256":           runXZ(t, data, "--check=sha256"),
		"executable":       runXZ(t, data, "--x86", "--lzma2"),
		"lzma":             runXZ(t, data, "--format=lzma"),
	} {
		if got, err := decoded("xz", file, uint64(len(data))); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, file := range map[string][]byte{
		"bad padding": append(bytes.Clone(ours), 0, 0, 0),
		"junk":        append(bytes.Clone(ours), "junk"...),
		"truncated":   ours[:len(ours)-1],
		"half":        ours[:len(ours)/2],
	} {
		if _, err := decoded("xz", file, uint64(len(data))); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func runXZ(t testing.TB, data []byte, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("xz is not installed: ", err)
	}
	cmd := exec.Command("xz", append([]string{"-c"}, args...)...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestEachBitCounts flips bits in compressed files: the result is an error or, where a format has bits without meaning,
// the same contents.
func TestEachBitCounts(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 20)
	for name := range encoders {
		if name == "none" || name == "br" { // br has no checksum; the NAR hash is for that
			continue
		}
		file := encoded(t, name, 1, data)
		for bit := range len(file) * 8 {
			bad := bytes.Clone(file)
			bad[bit/8] ^= 1 << (bit % 8)
			if got, err := decoded(name, bad, uint64(len(data))); err == nil && !bytes.Equal(got, data) {
				t.Errorf("%s: bit %d changes the contents unnoticed", name, bit)
			}
		}
	}
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

func TestHugeWindowsAreRefused(t *testing.T) {
	zstdHeader := []byte("\x28\xb5\x2f\xfd\x00\x98\x00\x00\x00\x00\x00\x00") // a window of 2^29 bytes
	xzFile := encoded(t, "xz", 1, []byte("x"))
	xzFile[12+4] = 40 // the dictionary in the block header: 4 GiB
	binary.LittleEndian.PutUint32(xzFile[12+8:], crc32.ChecksumIEEE(xzFile[12:12+8]))
	for name, file := range map[string][]byte{"window size exceeded": zstdHeader, "MiB of memory": xzFile} {
		if _, err := decoded("", file, 1); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// As much as Nix's own settings can ask for is fine.
	if got, err := decoded("xz", encoded(t, "xz", 9, []byte("x")), 1); err != nil || string(got) != "x" {
		t.Error(err)
	}
}

// TestSourceErrorsPassThrough: what is wrong with the source must not be taken for corruption by a decoder.
func TestSourceErrorsPassThrough(t *testing.T) {
	broken := errors.New("broken")
	for name := range encoders {
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
