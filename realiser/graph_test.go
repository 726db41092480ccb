package realiser

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"larder/realiser/result"
	"larder/store"
)

var everything = recipe{many: 0.2, floating: 0.1, cached: 0.3, partly: true}

// Several callers at once want outputs of overlapping parts of a graph of all kinds of derivations, and then more
// outputs: what substituters have is not built, all that is needed else is, once, and nothing more.
func TestGraphBuildsWhatIsNeededOnce(t *testing.T) {
	t.Parallel()
	g := newGraphLab(t, graphSize(), everything, nil)
	wanted := demand{}
	var group sync.WaitGroup
	for range 6 {
		var targets []Target
		for range 10 {
			x, outputs := g.randomTarget()
			wanted.add(x, outputs...)
			targets = append(targets, x.target(outputs...))
		}
		group.Go(func() {
			o, err := g.request(t.Context(), false, targets...)
			if err == nil {
				err = o.Err()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	for range 20 { // programs that open paths
		x, outputs := g.randomTarget()
		if len(outputs) == 0 || x.unknown {
			continue
		}
		wanted.add(x, outputs[0])
		group.Go(func() {
			if err := g.realise(t.Context(), x.outputs[outputs[0]]); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	want := g.expect(wanted, anywhere)
	g.checkRuns(want.runs)
	g.checkIdle()
	if len(want.runs) < graphSize()/10 || len(g.cache.fetches) < graphSize()/20 {
		t.Errorf("%d builds, %d downloads: the graph is too easy", len(want.runs), len(g.cache.fetches))
	}
	for _, x := range g.nodes {
		wanted.add(x)
	}
	g.complete()
	g.checkRuns(g.expect(wanted, anywhere).runs)
	g.checkIdle()
}

// With one slot the order of builds follows from the graph: of those that could
// begin, the first by name. What is substituted waits for no build. (A derivation that is
// resolved first asks substituters once more, and nobody waits for those.)
func TestGraphOrderWithOneSlot(t *testing.T) {
	t.Parallel()
	g := newGraphLab(t, graphSize(), recipe{many: 0.2, cached: 0.3}, func(o *Options) { o.MaxJobs = 1 })
	g.builds.maxPatience = time.Hour // the machine may be slow
	// No builder ends before all is done that could be done meanwhile; the first one, the gate, not before all is asked for.
	gate := &node{name: "gate", outputs: map[string]store.StorePath{"out": {}}}
	gate.drv, _ = g.lab.store.drv(t, gate.name, nil)
	g.named[gate.name] = gate
	g.during = func(_ context.Context, x *node) error {
		eventually(t, "all other goals wait", func() bool { return g.calm(x == gate) })
		return nil
	}
	var group sync.WaitGroup
	group.Go(func() { g.lab.build(t, false, gate.drv) })
	eventually(t, "the gate has the slot", func() bool { return g.started() == 1 })
	wanted := demand{}
	var targets []Target
	for _, x := range g.nodes {
		wanted.add(x)
		targets = append(targets, x.target())
	}
	o, err := g.request(t.Context(), false, targets...)
	if err != nil || o.Err() != nil {
		t.Fatal(err, o.Err())
	}
	group.Wait()
	want := append([]*node{gate}, g.orderWithOneSlot(wanted)...)
	for i := range want {
		if i >= len(g.order) || g.order[i] != want[i] {
			t.Fatalf("build %d of %d is that of %s, not of %s", i, len(want), g.order[min(i, len(g.order)-1)].name, want[i].name)
		}
	}
	g.checkIdle()
}

// calm reports whether every goal waits for another or for a slot, but for those
// that are being built. At the first there must be other goals, too.
func (g *graphLab) calm(first bool) bool {
	g.graph.mu.Lock()
	defer g.graph.mu.Unlock()
	if first && len(g.graph.goals) == 1 {
		return false
	}
	for _, x := range g.graph.goals {
		switch x.activity.phase {
		case PhaseBuilding:
		case PhaseWaiting:
			if x.wait == nil || x.wait.over {
				return false
			}
		case PhaseQueued:
			if x.ticket == nil || x.ticket.slots != g.builds || x.ticket.isGranted() {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// orderWithOneSlot is the order in which builders run. A slot is given away
// before what was built with it is registered, so that users of it come one later.
func (m *model) orderWithOneSlot(wanted demand) (order []*node) {
	runs := m.expect(wanted, anywhere).runs
	missing := map[*node]int{}
	users := map[*node][]*node{}
	var ready []*node
	for x := range runs {
		for _, e := range x.inputs {
			if runs[e.from] {
				missing[x]++
				users[e.from] = append(users[e.from], x)
			}
		}
		if missing[x] == 0 {
			ready = append(ready, x)
		}
	}
	var last *node
	for len(order) < len(runs) {
		if len(ready) == 0 && last != nil {
			ready, last = release(last, users, missing, ready), nil
			continue
		}
		slices.SortFunc(ready, func(a, b *node) int { return byName(a.drv, b.drv) })
		next := ready[0]
		ready = ready[1:]
		order = append(order, next)
		if last != nil {
			ready = release(last, users, missing, ready)
		}
		last = next
	}
	return order
}

// release adds to ready what waited for x alone.
func release(x *node, users map[*node][]*node, missing map[*node]int, ready []*node) []*node {
	for _, user := range users[x] {
		if missing[user]--; missing[user] == 0 {
			ready = append(ready, user)
		}
	}
	return ready
}

// keep-going: all is built that does not depend on what failed.
func TestGraphKeepGoing(t *testing.T) {
	t.Parallel()
	g := newGraphLab(t, graphSize(), recipe{many: 0.2, floating: 0.05, cached: 0.2, failing: 10 / float64(graphSize())}, nil)
	g.checkAll(anywhere, result.DependencyFailed)
}

// max-jobs = 0: only what prefers to be built here is, if all it needs can be had.
func TestGraphWithoutJobs(t *testing.T) {
	t.Parallel()
	g := newGraphLab(t, graphSize(), recipe{many: 0.2, cached: 0.3, local: 0.9}, func(o *Options) { o.MaxJobs = NoBuilds })
	g.checkAll(func(x *node) bool { return x.prefers }, result.MiscFailure, result.DependencyFailed)
}

// checkAll asks for everything and compares what becomes of each with what should.
// Failures of what did not run itself have one of the statuses.
func (g *graphLab) checkAll(may func(*node) bool, statuses ...result.Status) {
	g.t.Helper()
	wanted := demand{}
	var targets []Target
	for _, x := range g.nodes {
		wanted.add(x)
		targets = append(targets, x.target())
	}
	o, err := g.request(g.t.Context(), true, targets...)
	if err != nil {
		g.t.Fatal(err)
	}
	want := g.expect(wanted, may)
	bad := 0
	for i, r := range o.Results {
		x := g.nodes[i]
		switch {
		case want.good[x]:
			if r.Err != nil {
				g.t.Errorf("%s: %v", x.name, r.Err)
			}
		case want.runs[x]:
			bad++
			if r.Status != result.PermanentFailure {
				g.t.Errorf("%s, whose builder fails: %v, %v", x.name, r.Status, r.Err)
			}
		default:
			bad++
			if !slices.Contains(statuses, r.Status) {
				g.t.Errorf("%s, which can't be built: %v, %v", x.name, r.Status, r.Err)
			}
		}
	}
	if bad == 0 || bad == len(g.nodes) {
		g.t.Errorf("%d of %d failed: the graph is too easy", bad, len(g.nodes))
	}
	g.checkRuns(want.runs)
	g.checkIdle()
}

// Fail-fast: the first failure ends the request; what runs is killed, what waits
// never runs.
func TestGraphFailFast(t *testing.T) {
	t.Parallel()
	g := newGraphLab(t, graphSize(), recipe{many: 0.2, floating: 0.05, cached: 0.2}, nil)
	failAfter := int64(20 + g.random.IntN(graphSize()/5))
	var begun atomic.Int64
	g.during = func(ctx context.Context, x *node) error {
		switch n := begun.Add(1); {
		case n < failAfter:
			return nil
		case n == failAfter:
			x.fails = true
			return nil
		default: // a builder that goes on for ever
			<-ctx.Done()
			return context.Cause(ctx)
		}
	}
	var targets []Target
	for _, x := range g.nodes {
		targets = append(targets, x.target())
	}
	o, err := g.request(t.Context(), false, targets...)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, r := range o.Results {
		if r.Status == result.PermanentFailure {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d targets failed themselves", failed)
	}
	g.checkIdle()
	if n := g.started(); n >= int(failAfter)+graphSize()/10 { // a few begin while word gets around, and are killed
		t.Errorf("%d builders ran, although the %dth failed", n, failAfter)
	}
	g.during = nil
	for _, x := range g.nodes {
		x.fails = false
	}
	g.complete()
}

// All callers go away in the middle, again and again: nothing is left that runs or
// is held, and what was finished is not done once more.
func TestGraphCancelled(t *testing.T) {
	t.Parallel()
	g := newGraphLab(t, graphSize(), everything, nil)
	for range 5 {
		stopAt := g.started() + g.random.IntN(graphSize()/8)
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("the caller went away")
		g.during = func(run context.Context, _ *node) error {
			if g.started() > stopAt {
				cancel(gone)
				<-run.Done() // it does not end by itself
				return context.Cause(run)
			}
			return nil
		}
		var group sync.WaitGroup
		for part := range 4 {
			var targets []Target
			for i := part; i < len(g.nodes); i += 3 {
				targets = append(targets, g.nodes[i].target())
			}
			group.Go(func() {
				if _, err := g.request(ctx, part%2 == 0, targets...); err != nil && !errors.Is(err, gone) {
					t.Error(err)
				}
			})
		}
		group.Wait()
		g.checkIdle()
		cancel(nil)
	}
	g.during = nil
	g.complete()
	g.checkIdle()
}

// One caller of several goes away: what the others want goes on.
func TestGraphOneCallerLeaves(t *testing.T) {
	t.Parallel()
	g := newGraphLab(t, smallGraph, everything, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g.during = func(context.Context, *node) error {
		if g.started() > 20 {
			cancel()
		}
		return nil
	}
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := g.request(ctx, false, g.nodes[len(g.nodes)-1].target(), g.nodes[10].target()); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	g.complete()
	group.Wait()
	g.checkIdle()
	if c := g.Status().Counts.Builds; c.Failed != 0 {
		t.Errorf("%+v", c)
	}
	for _, x := range g.nodes {
		if n := g.lab.sandbox.count(x.name); n > 1 {
			t.Errorf("%s was built %d times", x.name, n)
		}
	}
}

// A closed Realiser ends in the middle, whoever waits.
func TestGraphClosed(t *testing.T) {
	t.Parallel()
	g := newGraphLab(t, graphSize(), everything, func(o *Options) { o.Grace = time.Hour })
	g.during = func(ctx context.Context, _ *node) error {
		if g.started() > graphSize()/10 {
			go g.Close()
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return nil
	}
	var targets []Target
	for _, x := range g.nodes {
		targets = append(targets, x.target())
	}
	o, err := g.request(t.Context(), true, targets...)
	if err == nil {
		err = o.Err()
	}
	if err == nil || !strings.Contains(err.Error(), ErrClosed.Error()) {
		t.Errorf("the caller got %v", err)
	}
	g.Close()
	g.checkIdle()
}
