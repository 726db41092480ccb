package store

import "errors"

// nix32Alphabet omits e, o, u and t, so that digests spell no words.
const nix32Alphabet = "0123456789abcdfghijklmnpqrsvwxyz"

var nix32Value = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range len(nix32Alphabet) {
		t[nix32Alphabet[i]] = byte(i)
	}
	return
}()

// nix32Len is the number of characters that n bytes take.
func nix32Len(n int) int { return (n*8 + 4) / 5 }

// EncodeNix32 returns Nix's base-32 form of b: five bits a character, the last
// bits of b first. It is not RFC 4648.
func EncodeNix32(b []byte) string {
	out := make([]byte, 0, nix32Len(len(b)))
	for n := nix32Len(len(b)) - 1; n >= 0; n-- {
		bit := n * 5
		i, j := bit/8, bit%8
		c := b[i] >> j
		if i+1 < len(b) {
			c |= b[i+1] << (8 - j)
		}
		out = append(out, nix32Alphabet[c&0x1f])
	}
	return string(out)
}

var (
	errNix32Char    = errors.New("character outside Nix's base-32 alphabet")
	errNix32Padding = errors.New("bits beyond the end are not zero")
	errNix32Length  = errors.New("no number of bytes has that many characters")
)

// DecodeNix32 is the inverse of [EncodeNix32]. It accepts only what
// EncodeNix32 prints.
func DecodeNix32(s string) ([]byte, error) {
	b := make([]byte, len(s)*5/8)
	if nix32Len(len(b)) != len(s) {
		return nil, errNix32Length
	}
	for n := range len(s) {
		v := nix32Value[s[len(s)-1-n]]
		if v == 0xff {
			return nil, errNix32Char
		}
		bit := n * 5
		i, j := bit/8, bit%8
		b[i] |= v << j
		carry := v >> (8 - j)
		if i+1 < len(b) {
			b[i+1] |= carry
		} else if carry != 0 {
			return nil, errNix32Padding
		}
	}
	return b, nil
}
