package wire_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"larder/store"
	"larder/store/wire"
	"larder/test/fixture"
)

// nars are the NARs of a folder of the fixtures: "good" or "bad".
func nars(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	dir := fixture.Path(t, "nars/"+folder)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string][]byte{}
	for _, f := range files {
		m[f.Name()] = fixture.Read(t, "nars/"+folder+"/"+f.Name())
	}
	if len(m) < 30 {
		t.Fatalf("only %d NARs in %s", len(m), dir)
	}
	return m
}

func TestNARStreamEndsWithTheNAR(t *testing.T) {
	for name, nar := range nars(t, "good") {
		r := wire.NewReader(iotest.HalfReader(bytes.NewReader(join(nar, nar, num(4711)))), store.DefaultDir, wire.Limits{})
		for range 2 {
			got, err := io.ReadAll(r.NAR())
			if err != nil || !bytes.Equal(got, nar) {
				t.Fatalf("%s: got %d bytes of %d, %v", name, len(got), len(nar), err)
			}
		}
		var n wire.Count
		if err := r.Message(&n); err != nil || n.N != 4711 {
			t.Errorf("%s: after the NARs: %d, %v", name, n.N, err)
		}
	}
}

// TestNARStreamOfMalformed: whatever it lets pass, it passes on as it is.
func TestNARStreamOfMalformed(t *testing.T) {
	for name, nar := range nars(t, "bad") {
		r := reader(latest, nar)
		got, err := io.ReadAll(r.NAR())
		if !bytes.HasPrefix(nar, got) {
			t.Errorf("%s: other bytes came out", name)
		}
		if err != nil && !errors.Is(err, wire.ErrNAR) && !errors.Is(err, wire.ErrTooLong) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFramesOfAnySize(t *testing.T) {
	for _, n := range []int{0, 1, 32<<10 - 1, 32 << 10, 32<<10 + 1, 200_000} {
		data := []byte(strings.Repeat("0123456789", n/10+1))[:n]
		b, err := encode(t, latest, func(w *wire.Writer) error {
			f := wire.NewFramedWriter(w)
			if _, err := io.Copy(f, iotest.HalfReader(bytes.NewReader(data))); err != nil {
				return err
			}
			return f.Close()
		})
		if err != nil {
			t.Fatal(err)
		}
		r := reader(latest, append(b, num(1)...))
		got, err := io.ReadAll(wire.NewFramedReader(r))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: got %d, %v", n, len(got), err)
		}
		if req, err := r.ReadRequest(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: what follows is %v, %v", n, req, err)
		}
	}
}

func TestFramesCutShort(t *testing.T) {
	whole := join(num(3), []byte("abc"), num(2), []byte("de"), num(0))
	for n := range whole {
		_, err := io.ReadAll(wire.NewFramedReader(reader(latest, whole[:n])))
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	f := wire.NewFramedReader(reader(latest, whole))
	if _, err := io.ReadFull(f, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := f.Drain(); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %v", n, err)
	}
}

func TestFrameThatOnlyClaims(t *testing.T) {
	size := allocated(func() {
		_, err := io.ReadFull(wire.NewFramedReader(reader(latest, join(num(1<<63), []byte("x")))), make([]byte, 10))
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
	})
	if size > 512<<10 {
		t.Errorf("%d bytes were allocated", size)
	}
}
