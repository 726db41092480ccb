package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"larder/cmd/internal/control"
	"larder/cmd/internal/terminal"
	"larder/store"
)

func (a *app) failuresCommand() *cobra.Command {
	list := &cobra.Command{
		Use:   "list",
		Short: "List builds that are known to fail",
		Long: `Lists the builds that failed for good while the setting build-cache-failure was on, and are not tried again: the output,
the status, when, and what the error was.`,
		Example: "  larder failures list",
		Args:    exactly(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(c.Context(), reading, func(s control.Service) error {
				failures, err := s.Failures(c.Context())
				if err != nil {
					return err
				}
				return a.printFailures(s.Dir(), failures)
			})
		},
	}
	forget := &cobra.Command{
		Use:     "clear [PATH]...",
		Aliases: []string{"forget"},
		Short:   "Forget that builds failed",
		Long:    "Forgets the failures of the given outputs or derivations, or all of them. They are built again when wanted.",
		Example: "  larder failures clear",
		RunE: func(c *cobra.Command, args []string) error {
			return a.withPaths(c.Context(), writing, args, func(s control.Service, paths []store.StorePath) error {
				n, err := s.ForgetFailures(c.Context(), paths)
				if err != nil {
					return err
				}
				if a.flags.json {
					return a.printJSON(map[string]int{"forgotten": n})
				}
				_, err = fmt.Fprintf(a.Err, "%s forgotten\n", counted(n, "failure"))
				return err
			})
		},
	}
	c := group("failures [COMMAND]", "Builds that are known to fail",
		"What the setting build-cache-failure remembers. Without a COMMAND the failures are listed.", list, forget)
	c.RunE = list.RunE
	return c
}

func (a *app) printFailures(d store.Dir, failures []store.Failure) error {
	if a.flags.json {
		rows := []map[string]any{}
		for _, f := range failures {
			rows = append(rows, map[string]any{"path": d.Join(f.Path), "drvPath": d.Join(f.Drv), "status": f.Status, "error": f.Error, "time": f.Time})
		}
		return a.printJSON(rows)
	}
	for _, f := range failures {
		if _, err := fmt.Fprintf(a.Out, "%s %s %s %s\n", d.Join(f.Path), f.Status, f.Time.Local().Format(time.RFC3339), terminal.Clean(oneLine(f.Error))); err != nil {
			return err
		}
	}
	return nil
}
