package realiser

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"

	"larder/realiser/builder"
	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
)

// Realiser runs goals. All its methods may be called concurrently.
type Realiser struct {
	opt      Options
	store    Store
	dir      store.Dir
	graph    *graph
	events   events
	failures *failures
	contents contents
	sources  sources
	hasher   *derivation.Hasher
	builder  *builder.Builder

	builds, downloads, queries *slots

	requests atomic.Uint64 // the last request's number
	room     *room
	base     context.Context // done when the Realiser is closed
	stop     context.CancelCauseFunc
}

// maxQueries is how many narinfos are asked for at once (Nix: http-connections).
const maxQueries = 25

// New checks the options, makes the directories they name, removes what killed
// processes left in BuildDir, and returns a Realiser. It must be closed.
func New(o Options) (*Realiser, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	b, err := builder.New(builder.Options{
		Store: o.Store, Sandbox: o.Sandbox, Cores: o.Cores, SandboxMode: o.SandboxMode, SandboxPaths: o.SandboxPaths,
		AllowedImpureHostDeps: o.AllowedImpureHostDeps, PreBuildHook: o.PreBuildHook, BuildDir: o.BuildDir, SandboxBuildDir: o.SandboxBuildDir,
		Users: o.Users, Fetch: o.Fetch, Getenv: o.Getenv, KeepFailed: o.KeepFailed, SecretKeys: o.SecretKeys,
		DiffHook: o.DiffHook, AllowNonDeterminism: o.AllowNonDeterminism,
		Timeout: o.Timeout, MaxSilent: o.MaxSilent, MaxLogSize: o.MaxLogSize, LogLines: o.LogLines, Now: o.Now, Logger: o.Logger,
	})
	if err != nil && !o.ReadOnly { // it builds nothing
		return nil, fmt.Errorf("realiser: %w", err)
	}
	if err := os.MkdirAll(o.LogDir, 0o755); err != nil && !o.ReadOnly {
		return nil, fmt.Errorf("realiser: log directory: %w", err)
	}
	base, stop := context.WithCancelCause(context.Background())
	deciding := new(atomic.Int64)
	r := &Realiser{
		opt: o, store: o.Store, dir: o.Store.Dir(), base: base, stop: stop,
		graph:     newGraph(base, o.Grace),
		events:    events{now: o.Now},
		failures:  newFailures(o.FailureTTL, o.Now),
		contents:  contents{check: o.Store.CheckContents},
		sources:   sources{now: o.Now},
		builds:    newSlots(max(o.MaxJobs, 1), deciding), // with NoBuilds for preferLocalBuild
		downloads: newSlots(o.MaxSubstitutionJobs, deciding),
		queries:   newSlots(maxQueries, nil),
		builder:   b,
	}
	if !o.NoSubstitutes {
		r.sources.all = o.Substituters
	}
	r.hasher = derivation.NewHasher(r.dir, r.derivation)
	r.room = newRoom(&o, &r.events)
	r.room.start(base)
	r.graph.run = r.run
	r.graph.deciding = deciding
	r.graph.calm = func() {
		r.builds.grant()
		r.downloads.grant()
	}
	r.graph.past = r.failures.answer
	return r, nil
}

// Close cancels everything that is at work, waits until nothing is, and ends all
// subscriptions. What is asked afterwards fails with ErrClosed. It may be called more
// than once, and returns nil.
func (r *Realiser) Close() error {
	r.stop(ErrClosed)
	r.graph.close()
	r.room.done.Wait()
	r.events.close()
	return nil
}

// Subscribe returns events from now on. The buffer is how many may pile up
// before further ones are dropped, which never holds up the work.
func (r *Realiser) Subscribe(buffer int) *Subscription { return r.events.subscribe(buffer) }

// Realise makes p and its closure valid on behalf of a program that waits for
// it, and returns nil when it is. An error that matches store.ErrNotFound says
// that p is provably not realisable. If ctx ends first its cause is returned, and
// the goal goes on if others wait for it. Other errors are a *result.BuildError,
// ErrClosed, or what the store said when it was asked for p. Failures are remembered
// for Options.FailureTTL. Nothing keeps p from garbage collection when Realise has
// returned: who needs it holds a temp root on it from before.
func (r *Realiser) Realise(ctx context.Context, who store.Caller, p store.StorePath) error {
	defer r.store.AddTempRoot(p)()
	if valid, err := r.valid(ctx, p); valid || err != nil {
		return err
	}
	w := &wait{urgency: urgency{priority: Access, request: r.requests.Add(1), caller: who}}
	goals, err := r.graph.await(ctx, w, []want{{key: key{kind: pathGoal, path: p}}})
	if err != nil {
		return err
	}
	if e := goals[0].result.err; e != nil {
		return e
	}
	return nil
}

func (r *Realiser) valid(ctx context.Context, p store.StorePath) (bool, error) {
	v, err := r.store.Valid(ctx, []store.StorePath{p})
	return err == nil && v[0], err
}

// missing returns those of paths that are not valid.
func (r *Realiser) missing(ctx context.Context, paths []store.StorePath) ([]store.StorePath, error) {
	valid, err := r.store.Valid(ctx, paths)
	if err != nil {
		return nil, err
	}
	var missing []store.StorePath
	for i, p := range paths {
		if !valid[i] {
			missing = append(missing, p)
		}
	}
	return missing, nil
}

// run is the life of a goal's goroutine.
func (r *Realiser) run(g *goal) {
	r.enter(g, PhaseStarting, "")
	r.events.publish(r.event(g, GoalStarted))
	var before ending // of the outputs that were wanted at first
	for {
		served := r.graph.wantedOutputs(g)
		res := r.work(g, served)
		if before.outputs != nil && res.status == result.AlreadyValid {
			outputs, keep := res.outputs, res.keep
			res = before // it was this goal that made them valid
			res.outputs, res.keep = outputs, keep
		}
		if err := context.Cause(g.ctx); err != nil && res.err != nil {
			res = g.failed(result.MiscFailure, fmt.Errorf("%s: %w", g.key.path, err)) // not the failure that follows from it
		} else {
			r.failures.note(g.key, res)
		}
		again := &served
		if res.err != nil || res.complete || g.key.kind != derivationGoal {
			again = nil
		}
		ev := r.event(g, GoalFinished)
		finished := r.graph.finish(g, res, again)
		res.keep.drop() // those who waited have it now
		if finished {
			dropAll(g.keeps)
			ev.Status = res.status
			if res.err != nil {
				ev.Error = res.err.Error()
			}
			r.events.publish(ev)
			return
		}
		before = res
	}
}

func (r *Realiser) work(g *goal, wanted outputSet) (res ending) {
	if err := context.Cause(g.ctx); err != nil {
		return g.failed(result.MiscFailure, err)
	}
	switch g.key.kind {
	case pathGoal:
		if g.key.mode.repairs() {
			return r.repairPath(g)
		}
		return r.realisePath(g)
	case substitutionGoal:
		return r.substitute(g)
	default:
		if g.key.mode == ModeRepair {
			return r.repairDerivation(g, wanted)
		}
		return r.realiseDerivation(g, wanted)
	}
}

// await waits, as goal g, for other goals.
func (r *Realiser) await(g *goal, tolerant bool, wants []want) ([]*goal, error) {
	if len(wants) == 0 {
		return nil, nil
	}
	paths := make([]store.StorePath, len(wants))
	for i, w := range wants {
		paths[i] = w.key.path
	}
	r.enter(g, PhaseWaiting, summary(paths))
	w := &wait{parent: g, tolerant: tolerant}
	goals, err := r.graph.await(g.ctx, w, wants)
	g.keeps = append(g.keeps, w.keeps...)
	return goals, err
}

// summary names the first of some paths, and says how many there are.
func summary(paths []store.StorePath) string {
	if len(paths) == 1 {
		return paths[0].String()
	}
	return fmt.Sprintf("%s and %d more", paths[0], len(paths)-1)
}

// acquire waits, as goal g, for a slot.
func (r *Realiser) acquire(g *goal, s *slots, what string) error {
	t := r.graph.queue(g, s)
	defer r.graph.unqueue(g)
	s.enqueue(t)
	r.graph.decided(g)
	if t.isGranted() {
		return nil
	}
	r.enter(g, PhaseQueued, what)
	return s.wait(g.ctx, t)
}
