package fusefs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"larder/store"
)

// Many processes touch a few paths that come and go, some are killed while they
// wait, and the caches are dropped: nobody hangs, and nobody reads anything but what
// the path held.
func TestStorm(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	m := newMounted(t)
	const paths, touchers, rounds = 8, 6, 40
	text := func(i int) string { return fmt.Sprintf("contents of %d", i) }
	var all []store.StorePath
	for i := range paths {
		open := make(chan struct{})
		close(open)
		all = append(all, m.store.plan(fmt.Sprint("storm-", i), open, tree{"dir/text": text(i), "run": script(text(i))}))
	}
	ops := []struct{ op, below, want string }{
		{"read", "dir/text", "ok %s"}, {"exec", "run", "%s"}, {"readdir", "dir", "ok text"}, {"lstat", "", "ok 40555"},
		{"readlink", "", "EINVAL"}, {"stat", "absent", "ENOENT"}, {"stat", "dir/text", "ok 100444"},
	}
	var touching, deleting sync.WaitGroup
	for g := range touchers {
		touching.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(g)))
			for range rounds {
				i, o := r.IntN(paths), ops[r.IntN(len(ops))]
				proc := m.touch(t, o.op, m.path(all[i], o.below))
				killed := r.IntN(4) == 0
				if killed {
					time.Sleep(time.Duration(r.IntN(3000)) * time.Microsecond)
					proc.signal([]syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGURG}[r.IntN(3)])
				}
				want := strings.Replace(o.want, "%s", text(i), 1)
				if got := proc.wait(); got != want && !(killed && (got == "" || got == "EINTR")) {
					t.Errorf("%s of %d: got %q, want %q", o.op, i, got, want)
				}
			}
		})
	}
	stop := make(chan struct{})
	deleting.Go(func() {
		r := rand.New(rand.NewPCG(seed, 1<<32))
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(r.IntN(20)) * time.Millisecond):
			}
			victims := []store.StorePath{all[r.IntN(paths)], all[r.IntN(paths)]}
			busy, done := m.fs.Invalidate(t.Context(), slices.Compact(victims))
			for _, p := range victims {
				if !slices.Contains(busy, p) && m.store.IsPresent(p) {
					m.store.deleted(t, p)
				}
			}
			done()
			if n%10 == 0 {
				os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0)
			}
		}
	})
	touching.Wait()
	close(stop)
	deleting.Wait()
	eventually(t, "nobody waits", func() bool {
		m.store.mu.Lock()
		defer m.store.mu.Unlock()
		return len(m.store.goals) == 0
	})
}
