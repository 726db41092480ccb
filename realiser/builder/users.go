package builder

import (
	"errors"
	"slices"
	"sync"

	"larder/sandbox"
)

// userPool hands out build users, each to one build at a time. Without any,
// builds run as the calling user.
type userPool struct {
	configured bool

	mu   sync.Mutex
	free []BuildUser
}

func newUserPool(users []BuildUser) userPool {
	return userPool{configured: len(users) > 0, free: slices.Clone(users)}
}

// take is called by who holds a build slot; there are no more slots than users,
// so an empty pool is a mistake, which must not make a builder root.
func (p *userPool) take() (u BuildUser, release func(), err error) {
	if !p.configured {
		return BuildUser{sandbox.CallingUser, sandbox.CallingUser}, func() {}, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return u, nil, errors.New("no build user is free")
	}
	u = p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	return u, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.free = append(p.free, u)
	}, nil
}
