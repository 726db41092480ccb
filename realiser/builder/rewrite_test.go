package builder

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

const (
	partA = "0123456789abcdfghijklmnpqrsvwxyz"
	partB = "yxwvsrqpnmlkjihgfdcba98765432111" // begins and ends unlike the other
	partC = "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb"
	partD = "bbbbbbbbbbbbbbbbaaaaaaaaaaaaaaaa"
)

func rewriteAll(text string, rewrites map[string]string, cut func(left int) int) string {
	var b bytes.Buffer
	r := newRewriter(&b, rewrites)
	for left := text; len(left) > 0; {
		n := cut(len(left))
		if _, err := r.Write([]byte(left[:n])); err != nil {
			panic(err)
		}
		left = left[n:]
	}
	if err := r.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

// However the stream is cut, the result is that of replacing in the whole text.
func TestRewriter(t *testing.T) {
	t.Parallel()
	rewrites := map[string]string{partA: partC, partB: partD}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var text strings.Builder
		for range random.IntN(30) {
			switch random.IntN(4) {
			case 0:
				text.WriteString(partA)
			case 1:
				text.WriteString(partB)
			case 2:
				text.WriteString(partA[:random.IntN(len(partA))])
			case 3:
				text.WriteString(strings.Repeat("/", random.IntN(100)))
			}
		}
		want := strings.NewReplacer(partA, partC, partB, partD).Replace(text.String())
		for name, cut := range map[string]func(int) int{
			"whole":    func(left int) int { return left },
			"bytes":    func(int) int { return 1 },
			"31 bytes": func(left int) int { return min(31, left) },
			"random":   func(left int) int { return 1 + random.IntN(min(left, 70)) },
		} {
			if got := rewriteAll(text.String(), rewrites, cut); got != want {
				t.Fatalf("%s: %q became %q, want %q", name, text.String(), got, want)
			}
		}
	}
}

func FuzzRewriter(f *testing.F) {
	f.Add(partA[:20]+partA+partB[:5], uint8(7))
	f.Add(partA+partA+partB, uint8(32))
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		step := int(size) + 1
		got := rewriteAll(text, map[string]string{partA: partC}, func(left int) int { return min(step, left) })
		if want := strings.ReplaceAll(text, partA, partC); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

type fullDisk struct{}

var errFull = errors.New("full")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestRewriterPassesErrorsOn(t *testing.T) {
	t.Parallel()
	r := newRewriter(fullDisk{}, map[string]string{partA: partB})
	if _, err := r.Write([]byte("short")); err != nil {
		t.Errorf("nothing was passed on yet: %v", err)
	}
	if err := r.Close(); !errors.Is(err, errFull) {
		t.Errorf("at the end: %v", err)
	}
	if _, err := r.Write([]byte(partA + partA)); !errors.Is(err, errFull) {
		t.Errorf("meanwhile: %v", err)
	}
}
