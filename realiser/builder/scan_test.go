package builder

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"larder/store"
)

// randomPaths makes n paths from a seeded source.
func randomPaths(t testing.TB, rng *rand.Rand, n int) []store.StorePath {
	t.Helper()
	paths := make([]store.StorePath, n)
	for i := range paths {
		var digest [20]byte
		for j := range digest {
			digest[j] = byte(rng.Uint32())
		}
		p, err := store.NewStorePath(digest, "x")
		if err != nil {
			t.Fatal(err)
		}
		paths[i] = p
	}
	return paths
}

// naiveScan is what the scanner must agree with.
func naiveScan(data []byte, candidates []store.StorePath) []store.StorePath {
	var found []store.StorePath
	for _, p := range candidates {
		if bytes.Contains(data, []byte(p.HashPart())) {
			found = append(found, p)
		}
	}
	return store.SortPaths(found)
}

// scanInPieces writes data in pieces of random lengths.
func scanInPieces(rng *rand.Rand, data []byte, candidates []store.StorePath, most int) []store.StorePath {
	s := newRefScanner(candidates)
	for len(data) > 0 {
		n := min(len(data), rng.IntN(most+1))
		s.Write(data[:n])
		data = data[n:]
	}
	return s.Found()
}

func TestScannerAgreesWithSearch(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	fillers := map[string]func() byte{
		"binary":   func() byte { return byte(rng.Uint32()) },
		"nix32":    func() byte { return "0123456789abcdfghijklmnpqrsvwxyz"[rng.IntN(32)] },
		"two":      func() byte { return "0e"[rng.IntN(2)] },
		"hex":      func() byte { return "0123456789abcdef"[rng.IntN(16)] },
		"sparse":   func() byte { return "0123456789abcdfghijklmnpqrsvwxyz/"[rng.IntN(33)] },
		"one char": func() byte { return '0' },
	}
	for name, filler := range fillers {
		for range 200 {
			candidates := randomPaths(t, rng, 1+rng.IntN(20))
			data := make([]byte, rng.IntN(2000))
			for i := range data {
				data[i] = filler()
			}
			for range rng.IntN(10) {
				part := candidates[rng.IntN(len(candidates))].HashPart()
				if i := rng.IntN(len(data) + 1); rng.IntN(2) == 0 {
					data = slices.Insert(data, i, []byte(part)...)
				} else {
					copy(data[i:], part) // may be cut off at the end
				}
			}
			want := naiveScan(data, candidates)
			for _, most := range []int{1, 7, 31, 32, 33, 64, 5000} {
				if got := scanInPieces(rng, data, candidates, most); !slices.Equal(got, want) {
					t.Fatalf("%s, pieces of at most %d: found %v, want %v", name, most, got, want)
				}
			}
		}
	}
}

func TestScannerCountsHashPartsOnly(t *testing.T) {
	p := randomPaths(t, rand.New(rand.NewPCG(1, 1)), 1)[0]
	part := p.HashPart()
	for _, c := range []struct {
		text string
		want bool
	}{
		{part, true}, {"xx" + part + "yy", true}, {part[:31], false}, {part[1:], false},
		{string(bytes.ToUpper([]byte(part))), false}, {part[:16] + "/" + part[16:], false},
	} {
		s := newRefScanner([]store.StorePath{p})
		s.Write([]byte(c.text))
		if got := len(s.Found()) == 1; got != c.want {
			t.Errorf("%q: found is %v", c.text, got)
		}
	}
}

func FuzzScanner(f *testing.F) {
	candidates := randomPaths(f, rand.New(rand.NewPCG(2, 2)), 3)
	f.Add([]byte(candidates[0].HashPart()), uint8(5))
	f.Add([]byte("/nix/store/"+candidates[1].HashPart()+"-x\x00"+candidates[2].HashPart()), uint8(31))
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		want := naiveScan(data, candidates)
		s := newRefScanner(candidates)
		for rest := data; len(rest) > 0; {
			n := min(len(rest), int(piece)+1)
			s.Write(rest[:n])
			rest = rest[n:]
		}
		if got := s.Found(); !slices.Equal(got, want) {
			t.Fatalf("found %v, want %v", got, want)
		}
	})
}

// BenchmarkScanner compares the scanner with a copy of the same memory.
func BenchmarkScanner(b *testing.B) {
	rng := rand.New(rand.NewPCG(3, 3))
	candidates := randomPaths(b, rng, 300)
	data := make([]byte, 64<<20)
	const piece = 128 << 10
	sink := make([]byte, piece)
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			for i := 0; i < len(data); i += piece {
				copy(sink, data[i:i+piece])
			}
		}
	})
	for _, kind := range []struct {
		name string
		next func() byte
	}{
		{"binary", func() byte { return byte(rng.Uint32()) }},
		{"text", func() byte { return "the quick brown fox, jumps over (the) lazy dog\n"[rng.IntN(47)] }},
		{"hex", func() byte { return "0123456789abcdef"[rng.IntN(16)] }},
		{"nix32", func() byte { return "0123456789abcdfghijklmnpqrsvwxyz"[rng.IntN(32)] }},
	} {
		for i := range data {
			data[i] = kind.next()
		}
		b.Run(kind.name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				s := newRefScanner(candidates)
				for i := 0; i < len(data); i += piece {
					s.Write(data[i : i+piece])
				}
			}
		})
	}
}
