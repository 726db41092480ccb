package engine

import (
	"context"
	"fmt"

	"larder/cmd/internal/control"
	"larder/realiser"
	"larder/store"
)

// eventBuffer is how many events may pile up before a slow listener loses some.
const eventBuffer = 4096

// Realise implements control.Service.
func (e *Engine) Realise(ctx context.Context, who store.Caller, q control.RealiseRequest, events func(realiser.Event)) (*realiser.Outcome, error) {
	r, err := e.Realiser(ctx)
	if err != nil {
		return nil, err
	}
	if events != nil {
		s := r.Subscribe(eventBuffer)
		passed := make(chan struct{})
		go func() {
			defer close(passed)
			for ev := range s.Events() {
				events(ev)
			}
		}()
		defer func() {
			s.Close()
			<-passed
		}()
	}
	return r.Build(ctx, who, realiser.Request{Targets: q.Targets, Mode: q.Mode, KeepGoing: q.KeepGoing, Rounds: q.Rounds, KeepFailed: q.KeepFailed})
}

// Events implements control.Service.
func (e *Engine) Events(ctx context.Context, f func(realiser.Event) error) error {
	r, err := e.Realiser(ctx)
	if err != nil {
		return err
	}
	s := r.Subscribe(eventBuffer)
	defer s.Close()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case ev, ok := <-s.Events():
			if !ok {
				return nil
			}
			if err := f(ev); err != nil {
				return fmt.Errorf("passing on an event: %w", err)
			}
		}
	}
}
