package local

import (
	"sync"

	"larder/store"
)

// liveRoots are the paths that processes of this store use at the moment.
type liveRoots struct {
	mu     sync.Mutex // guards what follows
	counts map[store.StorePath]int
	// touched are the paths that were temp roots at any moment of the GC that runs; nil if none does. They stay alive for
	// all of it: the temp root may have gone because a lasting one came, which the GC did not see any more.
	touched map[store.StorePath]bool
	// referred are the numbers that registrations have referred to since the GC that runs began.
	referred map[uint32]bool
	// doomed are the paths that the GC is just making invalid; the channel is closed when that is done.
	doomed map[store.StorePath]<-chan struct{}
}

func (r *liveRoots) init() {
	r.counts = map[store.StorePath]int{}
	r.doomed = map[store.StorePath]<-chan struct{}{}
}

// AddTempRoot keeps GC from deleting paths, and what they refer to, until release is called (more than once does no harm).
// The paths need not be valid yet. When it returns, a path is either not valid or stays valid: so add the temp root
// first, then look. It waits at most for one database commit of a running GC.
func (s *Store) AddTempRoot(paths ...store.StorePath) (release func()) {
	paths = store.SortPaths(paths)
	for {
		wait := s.roots.add(paths)
		if wait == nil {
			break
		}
		<-wait
	}
	return sync.OnceFunc(func() { s.roots.release(paths) })
}

// add adds all paths, or returns what to wait for.
func (r *liveRoots) add(paths []store.StorePath) (wait <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range paths {
		if wait := r.doomed[p]; wait != nil {
			return wait
		}
	}
	for _, p := range paths {
		r.counts[p]++
		if r.touched != nil {
			r.touched[p] = true
		}
	}
	return nil
}

func (r *liveRoots) release(paths []store.StorePath) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range paths {
		if r.counts[p]--; r.counts[p] == 0 {
			delete(r.counts, p)
		}
	}
}

// list returns the temp roots of the moment.
func (r *liveRoots) list() []store.StorePath {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]store.StorePath, 0, len(r.counts))
	for p := range r.counts {
		list = append(list, p)
	}
	return store.SortPaths(list)
}

// begin is called when a GC starts, before it looks for roots.
func (r *liveRoots) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.touched = make(map[store.StorePath]bool, len(r.counts))
	for p := range r.counts {
		r.touched[p] = true
	}
	r.referred = map[uint32]bool{}
}

// end is called when the GC is over.
func (r *liveRoots) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.touched, r.referred = nil, nil
}

// touchedPaths returns the temp roots that the GC that runs has seen so far.
func (r *liveRoots) touchedPaths() []store.StorePath {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]store.StorePath, 0, len(r.touched))
	for p := range r.touched {
		list = append(list, p)
	}
	return store.SortPaths(list)
}

// refer tells the GC that runs, if one does, which objects a registration refers to. The caller holds the token of commits.
func (r *liveRoots) refer(numbers []uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.referred == nil {
		return
	}
	for _, n := range numbers {
		r.referred[n] = true
	}
}
