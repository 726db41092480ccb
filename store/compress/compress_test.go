package compress

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

func encoded(t testing.TB, method string, level int, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(method, level, &b)
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

func decoded(method string, data []byte) ([]byte, error) {
	r, err := NewReader(method, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestEncodersAndLevels(t *testing.T) {
	data := bytes.Repeat([]byte("larder "), 3000)
	for name, e := range encoders {
		for level := e.low; level <= e.high; level++ {
			for _, data := range [][]byte{data, nil} {
				got, err := decoded(name, encoded(t, name, level, data))
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
		if got, err := decoded("xz", file); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, file := range map[string][]byte{
		"bad padding": append(bytes.Clone(ours), 0, 0, 0),
		"junk":        append(bytes.Clone(ours), "junk"...),
		"truncated":   ours[:len(ours)-1],
		"half":        ours[:len(ours)/2],
	} {
		if _, err := decoded("xz", file); err == nil {
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
			if got, err := decoded(name, bad); err == nil && !bytes.Equal(got, data) {
				t.Errorf("%s: bit %d changes the contents unnoticed", name, bit)
			}
		}
	}
}

func TestHugeWindowsAreRefused(t *testing.T) {
	zstdHeader := []byte("\x28\xb5\x2f\xfd\x00\x98\x00\x00\x00\x00\x00\x00") // a window of 2^29 bytes
	xzFile := encoded(t, "xz", 1, []byte("x"))
	xzFile[12+4] = 40 // the dictionary in the block header: 4 GiB
	binary.LittleEndian.PutUint32(xzFile[12+8:], crc32.ChecksumIEEE(xzFile[12:12+8]))
	for name, file := range map[string][]byte{"window size exceeded": zstdHeader, "MiB of memory": xzFile} {
		if _, err := decoded("", file); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// As much as Nix's own settings can ask for is fine.
	if got, err := decoded("xz", encoded(t, "xz", 9, []byte("x"))); err != nil || string(got) != "x" {
		t.Error(err)
	}
}

func TestUnknownMethods(t *testing.T) {
	for _, c := range []struct {
		method string
		level  int
	}{{"rar", 0}, {"", 0}, {"xz", 10}, {"zstd", -1}} {
		if _, err := NewWriter(c.method, c.level, io.Discard); err == nil {
			t.Errorf("%q, level %d: no error", c.method, c.level)
		}
	}
	if _, err := decoded("xz", []byte("plain text")); err == nil {
		t.Error("plain text passes for xz")
	}
	if got, err := decoded(Detect, []byte("plain text")); err != nil || string(got) != "plain text" {
		t.Errorf("%q, %v", got, err)
	}
}
