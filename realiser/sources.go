package realiser

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// orderTTL is how long the order of substituters stands. A cache that was down
// when it was asked for its priority gets its proper place after that.
const orderTTL = time.Minute

// sources knows in which order substituters are tried.
type sources struct {
	all []Substituter
	now func() time.Time

	once sync.Once
	turn chan struct{} // holds a token while nobody asks for priorities; guards what follows
	list []Substituter
	asOf time.Time
}

// ordered returns the substituters, lowest priority number first.
func (s *sources) ordered(ctx context.Context) ([]Substituter, error) {
	if len(s.all) < 2 {
		return s.all, nil
	}
	s.once.Do(func() {
		s.turn = make(chan struct{}, 1)
		s.turn <- struct{}{}
	})
	select {
	case <-s.turn:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { s.turn <- struct{}{} }()
	if s.list != nil && s.now().Sub(s.asOf) < orderTTL {
		return s.list, nil
	}
	type ranked struct {
		Substituter
		priority int
	}
	order := make([]ranked, len(s.all))
	var asked sync.WaitGroup
	for i, sub := range s.all {
		asked.Go(func() { order[i] = ranked{sub, sub.Priority(ctx)} })
	}
	asked.Wait()
	if ctx.Err() != nil { // then the priorities may be makeshift
		return nil, context.Cause(ctx)
	}
	slices.SortStableFunc(order, func(a, b ranked) int { return cmp.Compare(a.priority, b.priority) })
	s.list = nil
	for _, o := range order {
		s.list = append(s.list, o.Substituter)
	}
	s.asOf = s.now()
	return s.list, nil
}
