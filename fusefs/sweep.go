package fusefs

import "sync"

// sweeper bounds the placeholders that the kernel remembers. Each costs it an
// inode and us a reservation, and a program that looks up a million names that
// are not here leaves a million of them. Above max, the oldest ones that nobody
// uses are taken out of the kernel's cache. Methods may be called concurrently.
type sweeper struct {
	max  int
	wake chan struct{}

	mu     sync.Mutex // guards what follows
	queue  []uint32   // object numbers, the oldest first
	queued map[uint32]bool
}

func newSweeper(max int) *sweeper {
	return &sweeper{max: max, wake: make(chan struct{}, 1), queued: map[uint32]bool{}}
}

// note says that a placeholder was given out. It never blocks.
func (s *sweeper) note(object uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queued[object] {
		return
	}
	s.queued[object] = true
	s.queue = append(s.queue, object)
	if len(s.queue) > s.max {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// next takes the oldest one while there are more than three quarters of max.
func (s *sweeper) next() (object uint32, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) <= s.max/4*3 {
		return 0, false
	}
	object = s.queue[0]
	s.queue = s.queue[1:]
	delete(s.queued, object)
	return object, true
}

// sweep runs until the file system stops. EntryNotify waits for lookups in the
// root, and those never wait for anything.
func (f *FS) sweep() {
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-f.sweeper.wake:
		}
		for f.ctx.Err() == nil {
			n, ok := f.sweeper.next()
			if !ok {
				break
			}
			p, ok := f.objects.PathOf(n)
			if ok && f.lookups.held(n) && !f.objects.IsPresent(p) {
				f.kernel.EntryNotify(uint64(rootID), p.String())
			}
		}
	}
}
