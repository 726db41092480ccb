package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"larder/cmd/internal/config"
	"larder/cmd/internal/control"
	"larder/store"
)

func (a *app) gcCommand() *cobra.Command {
	var dryRun bool
	var maxFreed string
	c := &cobra.Command{
		Use:   "gc [PATH]...",
		Short: "Delete what no GC root needs",
		Long: `Deletes the store paths that no GC root needs, or only the given ones; one that is alive is an error then. Prints the
deleted paths. With --dry-run prints what would go. Do not run it on a store that the real Nix uses at the same time.`,
		Example: "  larder gc --dry-run",
		RunE: func(c *cobra.Command, args []string) error {
			q := control.GCRequest{DryRun: dryRun}
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
				return a.printGC(s.Dir(), r, dryRun)
			})
		},
	}
	c.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only say what would be deleted")
	c.Flags().StringVar(&maxFreed, "max-freed", "", "stop when `SIZE` bytes are free; K, M, G, T multiply")
	return c
}

func (a *app) printGC(d store.Dir, r *control.GCResult, dryRun bool) error {
	if a.flags.json {
		return a.printJSON(r)
	}
	if err := a.printPaths(d, r.Paths); err != nil {
		return err
	}
	done := "deleted, freeing"
	if dryRun {
		done = "would be deleted, with NARs of"
	}
	fmt.Fprintf(a.Err, "%d paths %s %s; %d stay\n", len(r.Paths), done, humanBytes(int64(r.Freed)), r.Live)
	if n := len(r.Unregistered); n > 0 {
		verb := "were deleted too"
		if dryRun {
			verb = "would be deleted too"
		}
		fmt.Fprintf(a.Err, "%d files that are not registered %s, the first is %s\n", n, verb, printable(r.Unregistered[0]))
	}
	return nil
}
