package realiser

import (
	"context"
	"errors"
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

	wanted map[string]store.StorePath // outputs, by name
	// retrySubstitution: substituters have all outputs that are missing, but not all that those refer to.
	retrySubstitution bool
}

// realiseDerivation is the work of a derivation goal. Names in wanted that the
// derivation does not have are left to those who want them.
func (r *Realiser) realiseDerivation(g *goal, wanted outputSet) ending {
	d := &drvRun{Realiser: r, g: g, path: g.key.path, name: r.dir.Join(g.key.path)}
	defer r.store.AddTempRoot(d.path)() // an access holds only the output that it wants
	if res := d.load(wanted); res.err != nil {
		return res
	}
	res := d.realise()
	if res.err == nil {
		res.outputs = d.wanted
	}
	return res
}

// load gets the derivation and the paths of the outputs that are wanted.
func (d *drvRun) load(wanted outputSet) ending {
	if valid, err := d.valid(d.g.ctx, d.path); err != nil {
		return d.g.failed(result.MiscFailure, err)
	} else if !valid {
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
	}
	var err error
	if d.drv, err = d.store.Derivation(d.g.ctx, d.path); err != nil {
		return d.g.failf(result.MiscFailure, "cannot read derivation '%s': %w", d.name, err)
	}
	if err := refuseKind(d.drv, d.name); err != nil {
		return d.g.failed(result.InputRejected, err)
	}
	d.wanted = map[string]store.StorePath{}
	for name, o := range d.drv.Outputs {
		if wanted.has(name) {
			d.wanted[name] = o.Path
		}
	}
	return ending{}
}

func (d *drvRun) realise() ending {
	wanted := slices.SortedFunc(maps.Values(d.wanted), store.StorePath.Compare)
	defer d.store.AddTempRoot(wanted...)()
	missing, err := d.missing(d.g.ctx, wanted)
	if err != nil {
		return d.g.failed(result.MiscFailure, err)
	}
	if len(missing) == 0 {
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
	if d.allowSubstitutes() {
		if done, res := d.trySubstitutes(missing); done {
			return res
		}
	}
	if err := d.mayBuild(); err != nil && !d.retrySubstitution {
		return d.g.failed(result.MiscFailure, err)
	}
	if err := d.refuse(d.drv, d.asks, d.name); err != nil {
		return d.g.failed(result.InputRejected, err)
	}
	if failed, res := d.failedBefore(); failed {
		return res
	}
	inputs, release, res := d.realiseInputs()
	defer release()
	if res.err != nil {
		return res
	}
	if d.retrySubstitution {
		// What the substitutes lacked may have been built as an input: once more.
		if done, res := d.trySubstitutes(missing); done {
			return res
		}
		if err := d.mayBuild(); err != nil {
			return d.g.failed(result.MiscFailure, err)
		}
	}
	return d.build(inputs)
}

// build waits for a slot and builds.
func (d *drvRun) build(inputs []store.StorePath) (res ending) {
	d.events.count(func(c *Counts) { c.Builds.Expected++ })
	if err := d.acquire(d.g, d.builds, "build"); err != nil {
		d.events.count(func(c *Counts) { c.Builds.Expected-- })
		return d.g.failed(result.MiscFailure, err)
	}
	release := sync.OnceFunc(d.builds.release)
	defer release()
	d.events.count(func(c *Counts) { c.Builds.Running++ })
	defer func() {
		d.events.count(func(c *Counts) {
			c.Builds.Running--
			if res.err == nil {
				c.Builds.Done++
			} else {
				c.Builds.Failed++
			}
		})
	}()
	outputs := make(map[string]store.StorePath, len(d.drv.Outputs))
	var paths []store.StorePath
	for name, o := range d.drv.Outputs {
		outputs[name] = o.Path
		paths = append(paths, o.Path)
	}
	d.enter(d.g, PhaseLocked, summary(paths))
	unlock, err := d.store.Lock(d.g.ctx, store.SortPaths(paths)...)
	if err != nil {
		return d.g.failed(result.MiscFailure, err)
	}
	defer unlock()
	// Somebody may have been faster, or other outputs be here from another time.
	absent := map[string]store.StorePath{}
	for name, p := range outputs {
		valid, err := d.valid(d.g.ctx, p)
		if err != nil {
			return d.g.failed(result.MiscFailure, err)
		}
		if !valid {
			absent[name] = p
		}
	}
	needed := false
	for name := range d.wanted {
		_, lacks := absent[name]
		needed = needed || lacks
	}
	if !needed {
		return ending{status: result.AlreadyValid}
	}
	if failed, res := d.failedBefore(); failed {
		return res
	}
	res = d.runBuilder(&builder.Job{Path: d.path, Drv: d.drv, Asks: d.asks, Inputs: inputs, Outputs: outputs, Absent: absent, LogPath: d.newLogFile(d.path)}, release)
	if res.err != nil && d.g.ctx.Err() != nil {
		return d.g.failed(result.MiscFailure, context.Cause(d.g.ctx))
	}
	d.rememberFailure(res)
	return res
}

// runBuilder runs a build, gives its slot back, and registers what it made.
func (d *drvRun) runBuilder(job *builder.Job, release func()) ending {
	job.Watch = builder.Watch{
		Log:     func(l *builder.Log) { d.graph.setLog(d.g, l) },
		Waiting: func(what string) { d.enter(d.g, PhaseLocked, what) },
		Started: func() { d.enter(d.g, PhaseBuilding, "") },
		Ended:   func() { d.enter(d.g, PhaseRegistering, "") },
		Line: func(line string) {
			ev := d.event(d.g, GoalLog)
			ev.Line = line
			d.events.publish(ev)
		},
		Message: d.tell,
	}
	made, err := d.builder.Run(d.g.ctx, job)
	release() // the next builder need not wait until the disk has everything
	if err == nil {
		err = made.Register(d.g.ctx)
	}
	res := ending{status: result.Built, start: made.Start, stop: made.Stop, cpuUser: made.CPUUser, cpuSystem: made.CPUSystem}
	if errors.As(err, &res.err) {
		res.status = res.err.Status
	}
	return res
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
