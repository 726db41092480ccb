package realiser

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"larder/realiser/builder"
	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
)

// drvRun is the work of a derivation goal for some outputs.
type drvRun struct {
	*Realiser
	g    *goal
	path store.StorePath
	name string // absolute path
	drv  *derivation.Derivation
	asks *derivation.Options // of drv

	wanted []string                             // outputs, sorted
	paths  map[string]store.StorePath           // of all outputs, as far as they are known
	ids    map[string]store.DrvOutput           // of all outputs, if their paths follow from realisations
	built  map[store.StorePath]derivation.Built // inputs, when they are realised
	// unknownInputs: not all inputs' paths are known before they are built.
	unknownInputs bool
	holds         []func() // release temp roots that last as long as the work
	// corrupt are the wanted outputs that a repair found damaged.
	corrupt map[string]store.StorePath
	// retrySubstitution: substituters have all outputs that are missing, but not all that those refer to.
	retrySubstitution bool
}

// realiseDerivation is the work of a derivation goal. Names in wanted that the
// derivation does not have are left to those who want them.
func (r *Realiser) realiseDerivation(g *goal, wanted outputSet) ending {
	d := &drvRun{Realiser: r, g: g, path: g.key.path, name: r.dir.Join(g.key.path)}
	defer func() {
		for _, release := range d.holds {
			release()
		}
	}()
	d.hold(d.path) // an access holds only the output that it wants
	if res := d.load(wanted); res.err != nil {
		return res
	}
	res := d.realise()
	if res.err != nil {
		return res
	}
	res.outputs = d.paths
	if res.complete = res.status == result.Built && d.g.key.mode == ModeRealise; !res.complete { // else all of them are valid
		res.outputs = map[string]store.StorePath{}
		for _, name := range d.wanted {
			res.outputs[name] = d.paths[name]
		}
	}
	res.keep = d.keepOutputs(slices.Collect(maps.Values(res.outputs)))
	return res
}

// hold keeps paths from garbage collection until the work is done.
func (d *drvRun) hold(paths ...store.StorePath) {
	d.holds = append(d.holds, d.store.AddTempRoot(paths...))
}

// load gets the derivation and the paths of the outputs that are wanted.
func (d *drvRun) load(wanted outputSet) ending {
	var err error
	d.drv, err = d.derivation(d.g.ctx, d.path)
	if errors.Is(err, store.ErrNotValid) {
		goals, err := d.await(d.g, false, []want{{key: key{kind: substitutionGoal, path: d.path}}})
		if err != nil {
			return d.g.failed(result.MiscFailure, err)
		}
		if res := goals[0].result; res.err != nil {
			status := result.MiscFailure
			if res.status == result.NoSubstituters {
				status = result.NoSubstituters
			}
			return d.g.failf(status, "cannot build missing derivation '%s': %w", d.name, res.err)
		}
		d.drv, err = d.derivation(d.g.ctx, d.path)
		if err != nil {
			return d.g.failf(result.MiscFailure, "cannot read derivation '%s': %w", d.name, err)
		}
	} else if err != nil {
		return d.g.failf(result.MiscFailure, "cannot read derivation '%s': %w", d.name, err)
	}
	for _, name := range d.drv.OutputNames() {
		if wanted.has(name) {
			d.wanted = append(d.wanted, name)
		}
	}
	return ending{}
}

// realise makes what is wanted valid, in the cheapest way there is.
func (d *drvRun) realise() ending {
	if err := d.lookUp(); err != nil {
		return d.g.failed(result.MiscFailure, err)
	}
	d.hold(d.knownPaths()...)
	missing, err := d.absent(d.wanted)
	if err == nil {
		missing, err = d.toMake(missing)
	}
	if err != nil {
		return d.g.failed(result.MiscFailure, err)
	}
	if len(missing) == 0 && d.g.key.mode != ModeCheck {
		return ending{status: result.AlreadyValid}
	}
	if d.opt.ReadOnly {
		return d.g.failf(result.MiscFailure, "cannot build '%s': %w", d.name, store.ErrReadOnly)
	}
	// A derivation that claims another's paths could replace anything in the store.
	if err := d.hasher.Check(d.g.ctx, d.path, d.drv); err != nil {
		return d.g.failf(result.InputRejected, "derivation '%s' is refused: %w", d.name, err)
	}
	if d.asks, err = d.drv.Options(); err != nil {
		return d.g.failf(result.InputRejected, "derivation '%s' is refused: %w", d.name, err)
	}
	if d.g.key.mode != ModeCheck && d.allowSubstitutes() {
		if done, res := d.substituteOutputs(missing); done {
			return res
		}
	}
	return d.makeOutputs(missing)
}

// makeOutputs builds, once the inputs are there, or has the derivation built that this one
// is resolved to then.
func (d *drvRun) makeOutputs(missing []string) (res ending) {
	if !d.resolvable() { // else the resolved derivation may not have to be built
		if err := d.mayBuild(); err != nil && !d.retrySubstitution {
			return d.g.failed(result.MiscFailure, err)
		}
		if err := d.refuse(d.drv, d.asks, d.name); err != nil {
			return d.refused(err)
		}
	}
	if failed, res := d.failedBefore(); failed {
		return res
	}
	count := d.events.expectBuild()
	defer func() { count.end(res.err != nil, d.g.ctx.Err() != nil) }()
	inputs, release, failed := d.realiseInputs()
	defer release()
	if failed.err != nil {
		return failed
	}
	if res := d.repairInputs(inputs); res.err != nil {
		return res
	}
	if d.mustResolve() {
		return d.resolve()
	}
	if d.retrySubstitution {
		// What the substitutes lacked may have been built as an input: once more.
		if done, res := d.substituteOutputs(missing); done {
			return res
		}
		if err := d.mayBuild(); err != nil {
			return d.g.failed(result.MiscFailure, err)
		}
	}
	return d.build(inputs, count)
}

// build waits for the locks of the outputs and for a slot, and builds.
func (d *drvRun) build(inputs []store.StorePath, count *buildCount) ending {
	if err := d.makeRoom(d.g); err != nil {
		return d.g.failed(result.MiscFailure, err)
	}
	_, locks, err := d.places()
	if err != nil {
		return d.g.failed(result.MiscFailure, err)
	}
	if len(locks) > 0 {
		d.enter(d.g, PhaseLocked, summary(locks))
	}
	unlock, err := d.store.Lock(d.g.ctx, locks...)
	if err != nil {
		return d.g.failed(result.MiscFailure, err)
	}
	defer unlock()
	// Somebody may have been faster, or other outputs be here from another time.
	outputs, absent, err := d.lookAgain()
	if err != nil {
		return d.g.failed(result.MiscFailure, err)
	}
	job := &builder.Job{Path: d.path, Drv: d.drv, Asks: d.asks, Inputs: inputs, Outputs: outputs, Absent: absent, LogPath: d.newLogFile(d.path)}
	if needed, err := d.fillIn(job); err != nil {
		return d.g.failed(result.MiscFailure, err)
	} else if !needed {
		return ending{status: result.AlreadyValid}
	}
	if failed, res := d.failedBefore(); failed {
		return res
	}
	// Not before: whoever has the locks may need a slot.
	if err := d.acquire(d.g, d.builds, "build"); err != nil {
		return d.g.failed(result.MiscFailure, err)
	}
	release := sync.OnceFunc(d.builds.release)
	defer release()
	count.begin()
	res := d.runBuilder(job, release)
	if res.err != nil && d.g.ctx.Err() != nil {
		return d.g.failed(result.MiscFailure, context.Cause(d.g.ctx))
	}
	d.rememberFailure(res)
	return res
}

// runBuilder runs a build, gives its slot back, and registers what it made.
func (d *drvRun) runBuilder(job *builder.Job, release func()) ending {
	round := ""
	job.Watch = builder.Watch{
		Round:   func(n, of int) { round = fmt.Sprintf("round %d of %d", n, of) },
		Log:     func(l *builder.Log) { d.graph.setLog(d.g, l) },
		Waiting: func(what string) { d.enter(d.g, PhaseLocked, what) },
		Started: func() { d.enter(d.g, PhaseBuilding, round) },
		Ended:   func() { d.enter(d.g, PhaseRegistering, "") },
		Line:    d.tellLine,
		Message: d.tell,
	}
	made, err := d.builder.Run(d.g.ctx, job)
	release() // the next builder need not wait until the disk has everything
	if err == nil {
		err = d.register(made)
	}
	res := ending{status: result.Built, start: made.Start, stop: made.Stop, cpuUser: made.CPUUser, cpuSystem: made.CPUSystem}
	if errors.As(err, &res.err) {
		res.status = res.err.Status
		return res
	}
	if failed := d.runPostBuildHook(d.paths); failed.err != nil {
		return failed
	}
	return res
}

// tellLine passes on a line of the goal's log.
func (d *drvRun) tellLine(line string) {
	ev := d.event(d.g, GoalLog)
	ev.Line = line
	d.events.publish(ev)
}

// tell passes on what a builder says. A phase is also what the goal is at.
func (d *drvRun) tell(m *builder.Message) {
	if m.Action == builder.SetPhase {
		d.enter(d.g, PhaseBuilding, m.Phase)
	}
	ev := d.event(d.g, GoalMessage)
	ev.Message = m
	d.events.publish(ev)
}

// register makes valid what was built and records where it is.
func (d *drvRun) register(made *builder.Result) error {
	outputs := make(map[string]store.StorePath, len(made.Outputs))
	for _, o := range made.Outputs {
		outputs[o.Name] = o.Info.Path
	}
	d.hold(slices.Collect(maps.Values(outputs))...)
	if err := made.Register(d.g.ctx); err != nil {
		return err
	}
	if err := d.recordBuilt(outputs); err != nil {
		return d.g.failed(result.MiscFailure, err).err
	}
	maps.Copy(d.paths, outputs)
	return nil
}
