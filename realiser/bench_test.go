package realiser_test

import (
	"fmt"
	"testing"

	"larder/realiser"
	"larder/store"
)

// BenchmarkTrivialDerivations builds independent derivations that do next to
// nothing: what is measured is the way there and back, registration included.
func BenchmarkTrivialDerivations(b *testing.B) {
	for _, jobs := range []int{1, 2} {
		b.Run(fmt.Sprintf("j%d", jobs), func(b *testing.B) {
			box, s := realSandbox(b), openStore(b)
			r := open(b, s, box, func(o *realiser.Options) { o.MaxJobs = jobs })
			var targets []realiser.Target
			for i := range b.N {
				drv, _ := addScript(b, s, fmt.Sprintf("trivial-%d", i), "echo x > $out")
				targets = append(targets, realiser.Target{Drv: drv})
			}
			b.ResetTimer()
			o, err := r.Build(b.Context(), store.Caller{}, realiser.Request{Targets: targets})
			if err == nil {
				err = o.Err()
			}
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}
