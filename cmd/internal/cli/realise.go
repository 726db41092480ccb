package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"larder/cmd/internal/control"
	"larder/cmd/internal/progress"
	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
)

type realiseFlags struct {
	dryRun, keepGoing bool
	jobs              string
	root              string
	check, repair     bool
	rounds            int
	keepFailed        bool
	evalStore         string
}

func (a *app) realiseCommand() *cobra.Command {
	var f realiseFlags
	c := &cobra.Command{
		Use:   "realise PATH|DRV[^OUTPUTS]...",
		Short: "Substitute or build store paths",
		Long: `Makes store paths valid, with all that they refer to: substituted from a binary cache, else built. A derivation
stands for all its outputs, or those after ^: DRV^out,dev. Prints the paths, one a line, when they are there.

With --dry-run prints what would be built and fetched, and does nothing of it.

With --check derivations whose outputs are valid are built once more and compared with them; a difference is an error.
With --repair the contents of the paths and of all that they refer to are looked at, and what is damaged is substituted
or built again.`,
		Example: "  larder realise /nix/store/2ndhd8xw8i2d4sdrl2fbvjdfdfdgs6p9-hello-2.12.1.drv^out",
		Args:    atLeast(1, "a store path or a derivation"),
		RunE:    func(c *cobra.Command, args []string) error { return a.realise(c, args, f) },
	}
	c.Flags().BoolVarP(&f.dryRun, "dry-run", "n", false, "only say what would be done")
	c.Flags().BoolVarP(&f.keepGoing, "keep-going", "k", false, "go on with the rest when something fails")
	c.Flags().StringVarP(&f.jobs, "max-jobs", "j", "", "build `N` derivations at a time, or \"auto\"")
	c.Flags().StringVar(&f.evalStore, "eval-store", "", "take derivations and their sources from the Larder store in the state directory `DIR`, too")
	c.Flags().BoolVar(&f.check, "check", false, "build once more what is valid, and compare")
	c.Flags().BoolVar(&f.repair, "repair", false, "repair what is damaged, also of what the paths refer to")
	c.Flags().IntVar(&f.rounds, "rounds", 0, "run each build `N` times, and compare")
	c.Flags().BoolVarP(&f.keepFailed, "keep-failed", "K", false, "keep the build directories of builds that fail, and their outputs")
	c.Flags().StringVar(&f.root, "add-root", "", "make the symlink `LINK` to the result, and a GC root; further results get LINK-2, …")
	return c
}

// validate finds flags that make no sense, alone or together.
func (f *realiseFlags) validate(rounds bool) error {
	const exclude = "%s and %s exclude each other"
	switch {
	case f.check && f.repair:
		return usagef(exclude, "--check", "--repair")
	case f.check && f.dryRun:
		return usagef(exclude, "--check", "--dry-run")
	case f.repair && f.dryRun:
		return usagef(exclude, "--repair", "--dry-run")
	case rounds && f.rounds < 1:
		return usagef("--rounds: each build runs at least once, not %d times", f.rounds)
	}
	return nil
}

func (f *realiseFlags) mode() realiser.Mode {
	switch {
	case f.check:
		return realiser.ModeCheck
	case f.repair:
		return realiser.ModeRepair
	}
	return realiser.ModeRealise
}

func (a *app) realise(c *cobra.Command, args []string, f realiseFlags) error {
	ctx := c.Context()
	if f.jobs != "" {
		if err := checkJobs(f.jobs); err != nil {
			return err
		}
		a.flags.options = append(a.flags.options, "max-jobs", f.jobs)
	}
	if err := f.validate(c.Flags().Changed("rounds")); err != nil {
		return err
	}
	if f.evalStore != "" {
		a.flags.options = append(a.flags.options, "eval-store", a.absolute(f.evalStore))
	}
	conf, err := a.settings()
	if err != nil {
		return err
	}
	targets, err := a.targets(store.Dir(conf.StoreDir), args)
	if err != nil {
		return err
	}
	if f.root != "" && !f.dryRun {
		if err := checkRoot(store.Dir(conf.StoreDir), a.absolute(f.root)); err != nil {
			return err
		}
	}
	return a.withStore(ctx, writing, func(s control.Service) error {
		if f.dryRun {
			return a.plan(ctx, s, targets)
		}
		show := progress.New(a.Err, a.progressOptions(s.Dir()))
		q := control.RealiseRequest{Targets: targets, Mode: f.mode(), KeepGoing: f.keepGoing || conf.KeepGoing, Rounds: f.rounds, KeepFailed: f.keepFailed}
		outcome, err := s.Realise(ctx, caller(), q, a.watching(show))
		show.Close()
		if err != nil {
			return err
		}
		if err := a.printOutcome(s.Dir(), outcome); err != nil {
			return err
		}
		if f.root != "" {
			return a.addRoots(ctx, s, a.absolute(f.root), results(outcome))
		}
		return nil
	})
}

// checkJobs finds a wrong -j before it becomes a setting, whose error would not name it.
func checkJobs(jobs string) error {
	if n, err := strconv.ParseInt(jobs, 10, 32); jobs != "auto" && (err != nil || n < 0) {
		return usagef("--max-jobs: %q is neither a number nor \"auto\"", jobs)
	}
	return nil
}

// watching shows events and remembers whose log lines were among them.
func (a *app) watching(show progress.Progress) func(realiser.Event) {
	a.shownLogs = map[store.StorePath]bool{}
	return func(e realiser.Event) {
		if e.Type == realiser.GoalLog && a.flags.verbose > 0 {
			a.shownLogs[e.Path] = true
		}
		show.Event(e)
	}
}

func (a *app) progressOptions(d store.Dir) progress.Options {
	return progress.Options{Dir: d, Terminal: isTerminal(a.Err) && a.Getenv("TERM") != "dumb",
		Verbose: a.flags.verbose > 0}
}

// targets parses arguments to realise.
func (a *app) targets(d store.Dir, args []string) ([]realiser.Target, error) {
	var targets []realiser.Target
	for _, arg := range args {
		i, err := a.installable(d, arg)
		if err != nil {
			return nil, err
		}
		targets = append(targets, i.target())
	}
	return targets, nil
}

// results are the paths that were realised, in the order of targets and outputs.
func results(o *realiser.Outcome) []store.StorePath {
	var paths []store.StorePath
	for _, r := range o.Results {
		if !r.Target.Path.IsZero() {
			paths = append(paths, r.Target.Path)
			continue
		}
		for _, name := range sortedKeys(r.Outputs) {
			paths = append(paths, r.Outputs[name])
		}
	}
	return paths
}

// printOutcome prints the results, and errors where there are some: one line for each target that failed.
func (a *app) printOutcome(d store.Dir, o *realiser.Outcome) error {
	if a.flags.json {
		if err := a.outcomeJSON(d, o); err != nil {
			return err
		}
	} else {
		for _, r := range o.Results {
			if r.Err == nil {
				if err := a.printPaths(d, results(&realiser.Outcome{Results: []realiser.BuildResult{r}})); err != nil {
					return err
				}
			}
		}
	}
	var failed []error
	for _, r := range o.Results {
		if r.Err != nil {
			failed = append(failed, r.Err)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	for _, err := range shownErrors(failed) {
		a.show(err)
	}
	return &reported{errors.Join(failed...)}
}

// shownErrors leaves out the targets that were given up because another failed, if that one is there.
func shownErrors(failed []error) []error {
	var shown []error
	for _, err := range failed {
		var b *result.BuildError
		if !errors.As(err, &b) || b.Status != result.MiscFailure {
			shown = append(shown, err)
		}
	}
	if len(shown) == 0 {
		return failed
	}
	return shown
}

func (a *app) outcomeJSON(d store.Dir, o *realiser.Outcome) error {
	type row struct {
		Path      string            `json:"path,omitempty"`
		DrvPath   string            `json:"drvPath,omitempty"`
		Outputs   map[string]string `json:"outputs,omitempty"`
		Status    result.Status     `json:"status"`
		Success   bool              `json:"success"`
		Error     string            `json:"error,omitempty"`
		StartTime int64             `json:"startTime,omitempty"`
		StopTime  int64             `json:"stopTime,omitempty"`
		CPUUser   float64           `json:"cpuUser,omitempty"` // seconds
		CPUSystem float64           `json:"cpuSystem,omitempty"`
	}
	rows := []row{}
	for _, r := range o.Results {
		w := row{Status: r.Status, Success: r.Err == nil, CPUUser: r.CPUUser.Seconds(), CPUSystem: r.CPUSystem.Seconds()}
		if r.Err != nil {
			w.Error = r.Err.Error()
		}
		if !r.Start.IsZero() {
			w.StartTime, w.StopTime = r.Start.Unix(), r.Stop.Unix()
		}
		if r.Target.Drv.IsZero() {
			w.Path = d.Join(r.Target.Path)
		} else {
			w.DrvPath, w.Outputs = d.Join(r.Target.Drv), joinAll(d, r.Outputs)
		}
		rows = append(rows, w)
	}
	return a.printJSON(rows)
}

func joinAll(d store.Dir, paths map[string]store.StorePath) map[string]string {
	m := make(map[string]string, len(paths))
	for name, p := range paths {
		m[name] = d.Join(p)
	}
	return m
}

func (a *app) plan(ctx context.Context, s control.Service, targets []realiser.Target) error {
	p, err := s.Plan(ctx, targets)
	if err != nil {
		return err
	}
	for _, w := range p.Warnings {
		a.warnf("%s", w)
	}
	if a.flags.json {
		return a.planJSON(s.Dir(), p)
	}
	lists := []struct {
		title string
		paths []store.StorePath
	}{
		{counted(len(p.Build), "derivation") + " would be built:", p.Build},
		{fmt.Sprintf("%s would be fetched (%s download, %s unpacked):", counted(len(p.Substitute), "path"), humanBytes(int64(p.DownloadSize)), humanBytes(int64(p.UnpackedSize))), p.Substitute},
		{counted(len(p.Unknown), "path") + " can't be had, no cache has it and no derivation makes it:", p.Unknown},
	}
	for _, l := range lists {
		if len(l.paths) == 0 {
			continue
		}
		if _, err := fmt.Fprintln(a.Out, l.title); err != nil {
			return err
		}
		for _, path := range l.paths {
			if _, err := fmt.Fprintln(a.Out, "  "+s.Dir().Join(path)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *app) planJSON(d store.Dir, p *realiser.Plan) error {
	names := func(paths []store.StorePath) []string {
		list := []string{}
		for _, q := range paths {
			list = append(list, d.Join(q))
		}
		return list
	}
	return a.printJSON(map[string]any{"willBuild": names(p.Build), "willSubstitute": names(p.Substitute), "unknown": names(p.Unknown),
		"downloadSize": p.DownloadSize, "narSize": p.UnpackedSize})
}

// addRoots makes symlinks to paths and registers them as GC roots: link, link-2, …
func (a *app) addRoots(ctx context.Context, s control.Service, link string, paths []store.StorePath) error {
	for i, p := range paths {
		name := link
		if i > 0 {
			name += "-" + strconv.Itoa(i+1)
		}
		if err := a.addRoot(ctx, s, name, p); err != nil {
			return err
		}
	}
	return nil
}
