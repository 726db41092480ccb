package realiser

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

// With one slot, what can be built at the same time is built in the order of its names, however it is asked for.
func TestOrderByName(t *testing.T) {
	for range 20 {
		var mu sync.Mutex
		var order []string
		l := newLab(t, func(o *Options) { o.MaxJobs = 1 })
		l.sandbox.build = func(_ context.Context, name string, s *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
			mu.Lock()
			order = append(order, name)
			mu.Unlock()
			return makeOutputs(s)
		}
		leaf, _ := l.store.drv(t, "leaf", nil)
		var drvs, want []string
		var paths []store.StorePath
		for i := range 8 {
			name := fmt.Sprintf("n%d", i)
			p, _ := l.store.drv(t, name, []store.StorePath{leaf}, func(d *derivation.Derivation) {})
			drvs, paths = append(drvs, name), append(paths, p)
		}
		want = append([]string{"leaf"}, drvs...)
		rand.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		top, _ := l.store.drv(t, "top", paths)
		for _, res := range l.build(t, false, append(paths, top)...) {
			if res.Err != nil {
				t.Fatal(res.Err)
			}
		}
		if want = append(want, "top"); !slices.Equal(order, want) {
			t.Fatalf("built in the order %v", order)
		}
	}
}
