package store_test

import (
	"bytes"
	"testing"

	"larder/store"
)

func TestNix32(t *testing.T) {
	for text, want := range map[string][]byte{
		"":                                 {},
		"00":                               {0},
		"7z":                               {0xff},
		"01":                               {1},
		"0002":                             {2, 0}, // the first byte comes last
		"00000000000000000000000000000002": append([]byte{2}, make([]byte, 19)...),
		"80000000000000000000000000000000": append(make([]byte, 19), 0x40),
		"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz": bytes.Repeat([]byte{0xff}, 20),
	} {
		got, err := store.DecodeNix32(text)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q is %x (%v), want %x", text, got, err, want)
		}
		if back := store.EncodeNix32(want); back != text {
			t.Errorf("%x is %q, want %q", want, back, text)
		}
	}
	for _, bad := range []string{"0", "000", "e0", "0E", "u0", "zz", "80", "0 ", "000000", "0\x00", "ä"} {
		if b, err := store.DecodeNix32(bad); err == nil {
			t.Errorf("%q is taken for %x", bad, b)
		}
	}
}

func FuzzNix32(f *testing.F) {
	f.Add("0ip26j2h11n1kgkz36rl4akv694yz65hr72q4kv4b3lxcbi65b3p")
	f.Add("zzzzzzzz")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := store.DecodeNix32(s)
		if err == nil && store.EncodeNix32(b) != s {
			t.Fatalf("%q decodes to %x, which prints as %q", s, b, store.EncodeNix32(b))
		}
		if back, err := store.DecodeNix32(store.EncodeNix32([]byte(s))); err != nil || string(back) != s {
			t.Fatalf("%x comes back as %x (%v)", s, back, err)
		}
	})
}
