package realiser

import (
	"sync"
	"time"

	"larder/realiser/result"
	"larder/store"
)

// maxFailures bounds how many failures are remembered for explanations.
const maxFailures = 4096

// Failure is a failure that is remembered.
type Failure struct {
	Kind      string          `json:"kind"` // of the goal: "path", "substitution", "derivation"
	Path      store.StorePath `json:"path"`
	Time      time.Time       `json:"time"`
	Status    result.Status   `json:"status"`
	Error     string          `json:"error"`
	Drv       store.StorePath `json:"drv,omitzero"` // the derivation that failed, Path's or one that it needs
	LogPath   string          `json:"logPath,omitempty"`
	LastLines []string        `json:"lastLines,omitempty"`
}

// failures remembers the last failure of each goal: for a short time as an
// answer to accesses, for longer as an explanation.
type failures struct {
	ttl time.Duration
	now func() time.Time

	mu    sync.Mutex // guards what follows
	last  map[key]remembered
	order []key // oldest first, may name forgotten ones
}

type remembered struct {
	result ending
	at     time.Time
}

func newFailures(ttl time.Duration, now func() time.Time) *failures {
	return &failures{ttl: ttl, now: now, last: map[key]remembered{}}
}

// note remembers how a goal ended: a failure, or that there is none any more.
// That nobody has a path is an answer and no failure, so it is not remembered.
func (f *failures) note(k key, res ending) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if res.err == nil || res.status == result.NoSubstituters {
		delete(f.last, k)
		return
	}
	if _, known := f.last[k]; !known {
		f.order = append(f.order, k)
	}
	f.last[k] = remembered{res, f.now()}
	for len(f.last) > maxFailures || len(f.order) > 2*maxFailures {
		delete(f.last, f.order[0])
		f.order = f.order[1:]
	}
}

// answer is the failure that still stands for a goal, or nil.
func (f *failures) answer(k key) *ending {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.last[k]
	if !ok || f.now().Sub(r.at) >= f.ttl {
		return nil
	}
	return &r.result
}

// explain is the last failure of a goal, however old, or nil.
func (f *failures) explain(k key) *Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.last[k]
	if !ok {
		return nil
	}
	e := r.result.err
	return &Failure{Kind: k.kind.String(), Path: k.path, Time: r.at, Status: r.result.status, Error: e.Error(), Drv: e.Drv,
		LogPath: e.LogPath, LastLines: e.LastLines}
}
