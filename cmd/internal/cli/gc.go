package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"larder/cmd/internal/config"
	"larder/cmd/internal/control"
	"larder/cmd/internal/terminal"
	"larder/store"
)

func (a *app) gcCommand() *cobra.Command {
	var dryRun, unregistered bool
	var maxFreed string
	c := &cobra.Command{
		Use:   "gc [PATH]...",
		Short: "Delete what no GC root needs",
		Long: `Deletes the store paths that no GC root needs, or only the given ones; one that is alive is an error then. Prints the
deleted paths. With --dry-run prints what would go. Objects in the object directory that are not registered stay,
because another program may have put them there, unless --unregistered is given: never do that where the real Nix has
its store.`,
		Example: "  larder gc --dry-run",
		RunE: func(c *cobra.Command, args []string) error {
			q := control.GCRequest{DryRun: dryRun, Unregistered: unregistered}
			if maxFreed != "" {
				n, err := config.ParseSize(maxFreed)
				if err != nil {
					return usagef("--max-freed: %v", err)
				}
				q.MaxFreed = uint64(n)
			}
			return a.withPaths(c.Context(), writing, args, func(s control.Service, paths []store.StorePath) error {
				q.Paths = paths
				r, err := s.CollectGarbage(c.Context(), q)
				if err != nil {
					return err
				}
				return a.printGC(s.Dir(), r, q)
			})
		},
	}
	c.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only say what would be deleted")
	c.Flags().BoolVar(&unregistered, "unregistered", false, "delete also what is in the object directory without being registered")
	c.Flags().StringVar(&maxFreed, "max-freed", "", "stop when `SIZE` bytes are free; K, M, G, T multiply")
	return c
}

func (a *app) printGC(d store.Dir, r *control.GCResult, q control.GCRequest) error {
	if a.flags.json {
		return a.printJSON(r)
	}
	if err := a.printPaths(d, r.Paths); err != nil {
		return err
	}
	done := "deleted, freeing"
	if q.DryRun {
		done = "would be deleted, with NARs of"
	}
	fmt.Fprintf(a.Err, "%s %s %s; %d stay\n", counted(len(r.Paths), "path"), done, humanBytes(int64(r.Freed)), r.Live)
	if n := len(r.Unregistered); n > 0 {
		verb := "were deleted too"
		switch {
		case !q.Unregistered || len(q.Paths) > 0:
			verb = "stay (see --unregistered)"
		case q.DryRun:
			verb = "would be deleted too"
		}
		fmt.Fprintf(a.Err, "%d files that are not registered %s, the first is %s\n", n, verb, terminal.Clean(r.Unregistered[0]))
	}
	return nil
}
