package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"larder/store"
	"larder/store/wire"
)

// num and str are the two things that everything is made of.
func num(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

func str(s string) []byte {
	b := append(num(uint64(len(s))), s...)
	return append(b, make([]byte, -uint(len(s))%8)...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

var latest = wire.Protocol{Version: wire.MaxVersion}

// allocated is how much memory f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestHostileRequests: typed errors, and no memory for what is only claimed.
func TestHostileRequests(t *testing.T) {
	path := str("/nix/store/722cknb7zrny7sx1ipqmjmb9czwzawj5-hello")
	for name, c := range map[string]struct {
		bytes []byte
		want  error
	}{
		"string of 2^64-1 bytes":     {join(num(1), num(1<<64-1)), wire.ErrTooLong},
		"string of 2^64-8 bytes":     {join(num(1), num(1<<64-8)), wire.ErrTooLong},
		"string just over the limit": {join(num(1), num(64<<20+1)), wire.ErrTooLong},
		"string at the limit, empty": {join(num(1), num(64<<20)), io.ErrUnexpectedEOF},
		"list of 2^64-1":             {join(num(31), num(1<<64-1)), wire.ErrTooLong},
		"list at the limit, empty":   {join(num(31), num(4<<20)), io.ErrUnexpectedEOF},
		"map of 2^63":                {join(num(19), bytes.Repeat(num(0), 12), num(1<<63)), wire.ErrTooLong},
		"key twice":                  {join(num(19), bytes.Repeat(num(0), 12), num(2), str("a"), str("1"), str("a"), str("2")), wire.ErrRange},
		"padding":                    {join(num(29), num(1), []byte("a1234567")), wire.ErrPadding},
		"no padding":                 {join(num(29), num(1), []byte("a")), io.ErrUnexpectedEOF},
		"cut number":                 {join(num(29), []byte("abc")), io.ErrUnexpectedEOF},
		"cut operation":              {[]byte{1}, io.ErrUnexpectedEOF},
		"mode":                       {join(num(9), num(0), num(3)), wire.ErrRange},
		"action":                     {join(num(20), num(4)), wire.ErrRange},
		"number of jobs":             {join(num(19), num(0), num(0), num(0), num(0), num(1<<32)), wire.ErrRange},
		"time":                       {join(num(39), path, str(""), str(strings.Repeat("0", 64)), num(0), num(1<<63)), wire.ErrRange},
		"dynamic output too deep":    {join(num(40), num(1), str("/nix/store/722cknb7zrny7sx1ipqmjmb9czwzawj5-x.drv"+strings.Repeat("!out", 100))), wire.ErrTooLong},
		"too many signatures":        {join(num(39), path, str(""), str(strings.Repeat("0", 64)), num(0), num(0), num(0), num(0), num(1001), bytes.Repeat(str("x"), 1001), str("")), wire.ErrTooLong},
	} {
		var err error
		size := allocated(func() {
			r := wire.NewReader(bytes.NewReader(c.bytes), store.DefaultDir, wire.Limits{})
			r.Protocol = latest
			_, err = r.ReadRequest()
		})
		var format *wire.FormatError
		if !errors.Is(err, c.want) || !errors.As(err, &format) {
			t.Errorf("%s: %v", name, err)
		}
		if size > 512<<10 {
			t.Errorf("%s: %d bytes were allocated", name, size)
		}
	}
}

func TestLimits(t *testing.T) {
	request := join(num(31), num(3), bytes.Repeat(str("/nix/store/722cknb7zrny7sx1ipqmjmb9czwzawj5-hello"), 3), num(0))
	for name, limits := range map[string]wire.Limits{
		"string": {String: 48}, "list": {List: 2}, "message": {Message: 150},
	} {
		r := wire.NewReader(bytes.NewReader(request), store.DefaultDir, limits)
		r.Protocol = latest
		if _, err := r.ReadRequest(); !errors.Is(err, wire.ErrTooLong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The budget is that of a message, not of a connection.
	r := wire.NewReader(bytes.NewReader(bytes.Repeat(request, 10)), store.DefaultDir, wire.Limits{String: 49, List: 3, Message: 49*3 + 24*3})
	r.Protocol = latest
	for i := range 10 {
		if _, err := r.ReadRequest(); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	if _, err := r.ReadRequest(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// TestLongStrings: strings that are longer than a step of the buffer arrive whole.
func TestLongStrings(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 32<<10 - 1, 32 << 10, 32<<10 + 1, 1 << 20} {
		text := strings.Repeat("x", n)
		b, err := encode(t, latest, func(w *wire.Writer) error { return w.Message(&wire.Text{Text: text}) })
		if err != nil {
			t.Fatal(err)
		}
		var got wire.Text
		if err := reader(latest, b).Message(&got); err != nil || got.Text != text {
			t.Errorf("%d bytes: got %d, %v", n, len(got.Text), err)
		}
	}
}

func TestHostileLogMessages(t *testing.T) {
	for name, c := range map[string]struct {
		bytes []byte
		want  error
	}{
		"unknown":         {num(7), wire.ErrRange},
		"nothing":         {nil, io.ErrUnexpectedEOF},
		"type of error":   {join(num(0x63787470), str("Exception")), wire.ErrRange},
		"position":        {join(num(0x63787470), str("Error"), num(0), str("Error"), str("no"), num(1)), wire.ErrRange},
		"type of a field": {join(num(0x52534c54), num(1), num(101), num(1), num(2)), wire.ErrRange},
	} {
		if _, err := reader(latest, c.bytes).ReadLog(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnencodable(t *testing.T) {
	for name, m := range map[string]wire.Message{
		"no path":       &wire.IsValidPath{},
		"no NAR hash":   &wire.AddToStoreNar{Info: store.PathInfo{Path: hello}},
		"a sum of SHA1": &wire.NarHash{Hash: store.SHA1.Sum(nil)},
	} {
		if b, err := encode(t, latest, func(w *wire.Writer) error { return w.Message(m) }); err == nil || len(b) > 0 {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}
