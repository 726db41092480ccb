package realiser

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"larder/realiser/result"
	"larder/store"
)

// attempt collects what went wrong at the substituters that were tried.
type attempt struct {
	count      *substitutionCount
	failures   []error
	incomplete error // a substituter has the path, but not all that it refers to
	gone       error // a substituter has the path's narinfo, but not its NAR
}

// substitute is the work of a substitution goal: the first substituter that
// delivers ends it. Its statuses are Substituted and AlreadyValid; NoSubstituters
// if all of them answered that they do not have the path; DependencyFailed if one
// has it, but what it refers to can't be had; TransientFailure else.
func (r *Realiser) substitute(g *goal) ending {
	p := g.key.path
	if there, err := r.alreadyThere(g, p); err != nil {
		return g.failed(result.MiscFailure, err)
	} else if there {
		return ending{status: result.AlreadyValid}
	}
	if r.opt.ReadOnly {
		return g.failf(result.MiscFailure, "cannot substitute path '%s': %w", r.dir.Join(p), store.ErrReadOnly)
	}
	sources, err := r.sources.ordered(g.ctx)
	if err != nil {
		return g.failed(result.MiscFailure, err)
	}
	tried := attempt{count: r.events.newSubstitution()}
	for _, s := range sources {
		err := r.substituteFrom(g, s, &tried)
		switch {
		case err == nil:
			r.logFailures(g, tried.failures)
			tried.count.end(false) // if another was faster
			return ending{status: result.Substituted}
		case g.ctx.Err() != nil:
			tried.count.end(false)
			return g.failed(result.MiscFailure, context.Cause(g.ctx))
		case errors.Is(err, store.ErrNotFound):
			// Also if it has the path no more, although its narinfo promised it (as in Nix).
		default:
			tried.failures = append(tried.failures, err)
		}
	}
	tried.count.end(len(tried.failures) > 0)
	return r.exhausted(g, tried)
}

// logFailures logs what nobody is told because it worked out in another way. Other failures are in the error.
func (r *Realiser) logFailures(g *goal, failures []error) {
	for _, err := range failures {
		r.opt.Logger.Warn("a substituter failed", "path", r.dir.Join(g.key.path), "err", err)
	}
}

func (r *Realiser) exhausted(g *goal, tried attempt) ending {
	name := r.dir.Join(g.key.path)
	switch {
	case len(tried.failures) > 0:
		return g.failf(result.TransientFailure, "path '%s' could not be substituted: %w", name, oneLine(tried.failures))
	case tried.incomplete != nil:
		res := g.failf(result.DependencyFailed, "path '%s' could not be substituted: %w", name, tried.incomplete)
		res.incomplete = true
		return res
	case tried.gone != nil:
		return g.failf(result.NoSubstituters, "path '%s' is required, but a substituter that promised it does not have it: %w", name, tried.gone)
	}
	return g.failf(result.NoSubstituters, "path '%s' is required, but there is no substituter that has it: %w", name, store.ErrNotFound)
}

// substituteFrom tries one substituter. That it has no such path matches
// store.ErrNotFound.
func (r *Realiser) substituteFrom(g *goal, s Substituter, tried *attempt) error {
	info, err := r.narInfo(g, s, g.key.path)
	if err != nil {
		return err
	}
	if info.Path != g.key.path {
		return fmt.Errorf("%s: %w: its narinfo for %s is about %s", s, store.ErrCorrupt, g.key.path, info.Path)
	}
	if !info.CA.IsZero() && !info.ContentAddressed(r.dir) {
		return fmt.Errorf("%s: %w: %s claims to be content-addressed, but does not have the path that follows from %s",
			s, store.ErrCorrupt, info.Path, info.CA)
	}
	if err := r.worthRepairing(g, s, &info.PathInfo); err != nil {
		return err
	}
	g.bytesTotal.Store(int64(info.NarSize))
	tried.count.expect(info.NarSize, info.FileSize)
	var others []store.StorePath
	for _, ref := range store.SortPaths(info.References) {
		if ref != info.Path {
			others = append(others, ref)
		}
	}
	// Until the path is registered nothing else keeps what it refers to.
	defer r.store.AddTempRoot(others...)()
	complete, err := r.realiseReferences(g, info, others)
	if err != nil {
		err = fmt.Errorf("%s: %w", s, err)
		if complete {
			return err
		}
		tried.incomplete = err
		return fmt.Errorf("%w: %v", store.ErrNotFound, err) // here, for our purposes
	}
	if err := r.makeRoom(g); err != nil {
		return err
	}
	// The lock first: a build may hold it for hours, and nobody shall do that with a slot.
	r.enter(g, PhaseLocked, info.Path.String())
	unlock, err := r.store.Lock(g.ctx, info.Path)
	if err != nil {
		return err
	}
	defer unlock()
	if there, err := r.alreadyThere(g, info.Path); there || err != nil {
		return err
	}
	if err := r.acquire(g, r.downloads, "download"); err != nil {
		return err
	}
	defer r.downloads.release()
	err = tried.count.run(func() error { return r.fetch(g, s, info) })
	switch {
	case err == nil:
		tried.count.delivered(g.bytesDone.Load(), g.fetched.Load())
	case errors.Is(err, store.ErrNotFound):
		tried.gone = err
	}
	return err
}

// narInfo asks one substituter about p.
func (r *Realiser) narInfo(g *goal, s Substituter, p store.StorePath) (*store.NarInfo, error) {
	if err := r.acquire(g, r.queries, "query"); err != nil {
		return nil, err
	}
	defer r.queries.release()
	r.enter(g, PhaseQuerying, s.String())
	return r.askNarInfo(g.ctx, s, p)
}

// realiseReferences substitutes what info refers to, but for itself. If that
// fails, complete tells whether that was because of a failure, and not because
// nobody has some of the references.
func (r *Realiser) realiseReferences(g *goal, info *store.NarInfo, others []store.StorePath) (complete bool, err error) {
	missing, err := r.missing(g.ctx, others)
	if err != nil {
		return true, err
	}
	wants := make([]want, len(missing))
	for i, ref := range missing {
		wants[i] = want{key: key{kind: substitutionGoal, path: ref}}
	}
	goals, err := r.await(g, false, wants)
	if errors.Is(err, errCycle) {
		return true, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	if err != nil {
		return true, err
	}
	for _, ref := range goals {
		res, finished := ref.outcome()
		if !finished || res.err == nil {
			continue
		}
		complete = !res.incomplete && res.status != result.NoSubstituters
		// Not wrapped: that a reference was not found does not mean that the path was not.
		return complete, errorString(fmt.Sprintf("it refers to '%s', which could not be realised: %v", r.dir.Join(ref.key.path), res.err))
	}
	return true, nil
}

// outcome returns the result of a goal that may not have finished.
func (g *goal) outcome() (res ending, finished bool) {
	select {
	case <-g.done:
		return g.result, true
	default:
		return ending{}, false
	}
}

// oneLine joins errors on one line.
func oneLine(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return &joined{errs}
}

type joined struct{ errs []error }

func (j *joined) Error() string {
	texts := make([]string, len(j.errs))
	for i, e := range j.errs {
		texts[i] = e.Error()
	}
	return strings.Join(texts, "; ")
}

func (j *joined) Unwrap() []error { return j.errs }
