package builder

import (
	"context"
	"fmt"

	"larder/realiser/result"
	"larder/store/derivation"
)

// Run runs the builder, in as many rounds as are asked for, and collects what it made,
// which the Result holds; nothing is registered yet, and Result.Register must follow.
// The error is a *result.BuildError; the Result has the times all the same, and there
// is nothing to register. When ctx ends the builder's processes are killed before Run
// returns.
func (b *Builder) Run(ctx context.Context, job *Job) (*Result, error) {
	rounds := job.rounds()
	var previous *Result
	for round := 1; ; round++ {
		if rounds > 1 {
			job.Watch.Round(round, rounds)
		}
		r := &build{Builder: b, Job: job, ctx: ctx, name: b.dir.Join(job.Path), previous: previous}
		r.result = &Result{build: r}
		err := r.run()
		if previous != nil {
			previous.discard()
			r.result.CPUUser += previous.CPUUser
			r.result.CPUSystem += previous.CPUSystem
			if !previous.Start.IsZero() {
				r.result.Start = previous.Start
			}
		}
		if err != nil {
			r.releaseUser()
			if rounds > 1 {
				err.Err = fmt.Errorf("%w (round %d of %d)", err.Err, round, rounds)
			}
			return r.result, err
		}
		if round >= rounds || r.known {
			return r.result, nil
		}
		// Nothing belongs to the user any more, and the next round must not wait for one.
		r.releaseUser()
		previous = r.result
	}
}

// rounds is how often the builder runs. A fixed output is checked by its hash; an
// impure one may differ; and with what is valid one round is compared.
func (j *Job) rounds() int {
	switch j.Drv.Kind() {
	case derivation.FixedOutput, derivation.Impure:
		return 1
	}
	if j.Check != nil {
		return 1
	}
	return max(j.Rounds, 1)
}

// judge compares the outputs with what they should be equal to, if there is such.
func (b *build) judge() *result.BuildError {
	switch {
	case b.Check != nil:
		return b.compareWithValid()
	case b.previous != nil:
		if failure := b.compareWithPrevious(); failure != nil {
			return failure
		}
	}
	return b.replacesDamaged()
}

// takes tells whether an output is wanted: others are valid, and what the builder made
// once more is dropped.
func (j *Job) takes(name string) bool {
	_, absent := j.Absent[name]
	_, corrupt := j.Corrupt[name]
	return absent || corrupt || j.Check != nil
}
