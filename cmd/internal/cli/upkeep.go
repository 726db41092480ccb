package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"larder/cmd/internal/control"
	"larder/store"
)

func (a *app) storeCommand() *cobra.Command {
	return group("store COMMAND", "Verify, repair and optimise the store", "Upkeep of the objects of the store.",
		a.verifyCommand(), a.optimiseCommand())
}

func (a *app) verifyCommand() *cobra.Command {
	var q control.VerifyRequest
	c := &cobra.Command{
		Use:   "verify [--all] [PATH]...",
		Short: "Look whether objects are what was registered",
		Long: `Looks whether the objects of valid store paths are there, and with --check-contents whether they are what was
registered: reads them all and compares their hashes. With --repair what is bad is substituted, else built again.
Prints the bad paths; the exit status is 1 if one stays bad.`,
		Example: "  larder store verify --all --check-contents --repair",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 && !q.All {
				return usagef("%s needs a PATH, or --all; see '%s --help'", c.CommandPath(), c.CommandPath())
			}
			p := reading
			if q.Repair {
				p = writing
			}
			return a.withPaths(c.Context(), p, args, func(s control.Service, paths []store.StorePath) error {
				q.Paths = paths
				r, err := s.Verify(c.Context(), caller(), q)
				if err != nil {
					return err
				}
				return a.printVerify(s.Dir(), r)
			})
		},
	}
	c.Flags().BoolVar(&q.All, "all", false, "look at every valid path")
	c.Flags().BoolVar(&q.Contents, "check-contents", false, "compare the contents, which takes long")
	c.Flags().BoolVar(&q.Repair, "repair", false, "repair what is bad")
	return c
}

func (a *app) printVerify(d store.Dir, r *control.VerifyResult) error {
	var failed []error
	for _, b := range r.Bad {
		if !b.Repaired {
			failed = append(failed, errors.New(b.Problem))
		}
	}
	done := &reported{errors.Join(failed...)}
	if a.flags.json {
		if err := a.printJSON(verifyJSON(d, r)); err != nil {
			return err
		}
	} else {
		for _, b := range r.Bad {
			if _, err := fmt.Fprintln(a.Out, d.Join(b.Path)); err != nil {
				return err
			}
			a.showBad(b)
		}
		for _, l := range r.BadLinks {
			a.warnf("the shared file %s is damaged", l)
		}
		fmt.Fprintf(a.Err, "%s looked at, %d bad, %d of them repaired\n", counted(r.Checked, "path"), len(r.Bad), len(r.Bad)-len(failed))
	}
	if len(failed) > 0 {
		return done
	}
	return nil
}

// verifyJSON is the result with whole store paths.
func verifyJSON(d store.Dir, r *control.VerifyResult) map[string]any {
	bad := []map[string]any{}
	for _, b := range r.Bad {
		row := map[string]any{"path": d.Join(b.Path), "problem": b.Problem, "repaired": b.Repaired}
		if b.Failure != "" {
			row["failure"] = b.Failure
		}
		bad = append(bad, row)
	}
	result := map[string]any{"checked": r.Checked, "bad": bad}
	if len(r.BadLinks) > 0 {
		result["badLinks"] = r.BadLinks
	}
	return result
}

func (a *app) showBad(b control.BadPath) {
	switch {
	case b.Repaired:
		fmt.Fprintf(a.Err, "repaired: %s\n", oneLine(b.Problem))
	case b.Failure != "":
		fmt.Fprintf(a.Err, "error: %s; it could not be repaired: %s\n", oneLine(b.Problem), oneLine(b.Failure))
	default:
		fmt.Fprintf(a.Err, "error: %s\n", oneLine(b.Problem))
	}
}

func (a *app) optimiseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "optimise",
		Short: "Make equal files links to one",
		Long: `Makes equal files of store objects links to one file, which saves disk space. The setting auto-optimise-store does the
same with what comes into the store. Prints how many files were replaced and what that freed.`,
		Example: "  larder store optimise",
		Aliases: []string{"optimize"},
		Args:    exactly(0, 0, "no argument"),
		RunE:    func(c *cobra.Command, _ []string) error { return a.optimise(c.Context()) },
	}
}

func (a *app) optimise(ctx context.Context) error {
	return a.withStore(ctx, writing, func(s control.Service) error {
		r, err := s.Optimise(ctx)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.printJSON(r)
		}
		_, err = fmt.Fprintf(a.Out, "%s replaced by links, %s freed\n", counted(r.Files, "file"), humanBytes(int64(r.Freed)))
		return err
	})
}
