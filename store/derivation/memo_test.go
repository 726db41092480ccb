package derivation

import (
	"context"
	"fmt"
	"testing"

	"larder/store"
)

// A full memo costs time, but the hashes stay the same.
func TestMemoIsBounded(t *testing.T) {
	const n, limit = 60, 3
	var paths []store.StorePath
	drvs := map[store.StorePath]*Derivation{}
	for i := range n {
		drv := &Derivation{Name: fmt.Sprint(i), Outputs: map[string]Output{"out": {}}, InputDrvs: map[store.StorePath][]string{}}
		for j := i / 2; j < i; j++ {
			drv.InputDrvs[paths[j]] = []string{"out"}
		}
		p, err := drv.Path(store.DefaultDir)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
		drvs[p] = drv
	}
	read := func(_ context.Context, p store.StorePath) (*Derivation, error) { return drvs[p], nil }
	large, small := NewHasher(store.DefaultDir, read), NewHasher(store.DefaultDir, read)
	small.maxMemo = limit
	for _, p := range paths {
		want, err := large.Modulo(t.Context(), drvs[p])
		if err != nil {
			t.Fatal(err)
		}
		if got, err := small.Modulo(t.Context(), drvs[p]); err != nil || got != want {
			t.Errorf("%s: %v (%v), want %v", p, got, err, want)
		}
		if len(small.memo) > limit {
			t.Fatalf("%d hashes are remembered, want at most %d", len(small.memo), limit)
		}
	}
}
