package realiser

import (
	"sync"

	"larder/sandbox"
)

// userPool hands out build users, each to one build at a time. There are at
// least as many as builds at once, or none: then builds run as the calling user.
type userPool struct {
	mu   sync.Mutex
	free []BuildUser
}

func (p *userPool) take() (u BuildUser, release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return BuildUser{sandbox.CallingUser, sandbox.CallingUser}, func() {}
	}
	u = p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	return u, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.free = append(p.free, u)
	}
}
