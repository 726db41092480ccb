package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"larder/cmd/internal/control"
	"larder/store"
)

// withPaths parses arguments that name store paths, and calls f with the store and them.
func (a *app) withPaths(ctx context.Context, p purpose, args []string, f func(control.Service, []store.StorePath) error) error {
	c, err := a.settings()
	if err != nil {
		return err
	}
	paths, err := a.parsePaths(store.Dir(c.StoreDir), args)
	if err != nil {
		return err
	}
	return a.withStore(ctx, p, func(s control.Service) error { return f(s, paths) })
}

func (a *app) queryCommand() *cobra.Command {
	relation := func(r control.Relation, short, long string) *cobra.Command {
		return &cobra.Command{
			Use: string(r) + " PATH...", Short: short, Long: long,
			Example: "  larder query " + string(r) + " /nix/store/5jqndlcpjbnlf2lkmz2zxxm3vhx4x3s7-hello-2.12.1",
			Args:    atLeast(1, "a PATH"),
			RunE: func(c *cobra.Command, args []string) error {
				return a.withPaths(c.Context(), reading, args, func(s control.Service, paths []store.StorePath) error {
					found, err := s.Query(c.Context(), r, paths)
					if err != nil {
						return err
					}
					return a.printPaths(s.Dir(), found)
				})
			},
		}
	}
	outputs := &cobra.Command{
		Use:     "outputs DRV...",
		Short:   "Print the outputs of derivations",
		Long:    "Prints the paths of the outputs of registered derivations, one a line, sorted by output name. They need not be valid.",
		Example: "  larder query outputs /nix/store/2ndhd8xw8i2d4sdrl2fbvjdfdfdgs6p9-hello-2.12.1.drv",
		Args:    atLeast(1, "a DRV"),
		RunE:    func(c *cobra.Command, args []string) error { return a.outputs(c.Context(), args) },
	}
	return group("query RELATION", "Ask how store paths relate", "Asks how registered store paths relate to one another.",
		relation(control.References, "Print what paths refer to", "Prints what valid paths refer to directly, one a line, themselves included if they do."),
		relation(control.Referrers, "Print what refers to paths", "Prints the valid paths that refer to the given ones directly, one a line."),
		relation(control.Closure, "Print paths and all they refer to", "Prints valid paths and all that they refer to, in turn; references before referrers."),
		relation(control.Deriver, "Print the derivation of paths", "Prints the derivation that made each path; for one that is not here, the registered derivations that would make it."),
		outputs)
}

func (a *app) outputs(ctx context.Context, args []string) error {
	return a.withPaths(ctx, reading, args, func(s control.Service, drvs []store.StorePath) error {
		all := []store.StorePath{}
		byName := map[string]map[string]string{}
		for _, drv := range drvs {
			outputs, err := s.Outputs(ctx, drv)
			if err != nil {
				return err
			}
			byName[s.Dir().Join(drv)] = joinAll(s.Dir(), outputs)
			for _, name := range sortedKeys(outputs) {
				all = append(all, outputs[name])
			}
		}
		if a.flags.json {
			return a.printJSON(byName)
		}
		return a.printPaths(s.Dir(), all)
	})
}

func (a *app) pathInfoCommand() *cobra.Command {
	recursive := false
	c := &cobra.Command{
		Use:   "path-info PATH...",
		Short: "Print what is known about store paths",
		Long: `Prints what is known about valid store paths. With --json the form is that of 'nix path-info --json'. A path that is
not valid is an error; 'larder why' says what it is.`,
		Example: "  larder path-info --json /nix/store/5jqndlcpjbnlf2lkmz2zxxm3vhx4x3s7-hello-2.12.1",
		Args:    atLeast(1, "a PATH"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withPaths(c.Context(), reading, args, func(s control.Service, paths []store.StorePath) error {
				if recursive {
					var err error
					if paths, err = s.Query(c.Context(), control.Closure, paths); err != nil {
						return err
					}
				}
				return a.pathInfo(c.Context(), s, paths)
			})
		},
	}
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "also of all that they refer to")
	return c
}

func (a *app) pathInfo(ctx context.Context, s control.Service, paths []store.StorePath) error {
	infos := []control.PathInfo{}
	for _, p := range paths {
		i, err := s.PathInfo(ctx, p)
		if err != nil {
			return err
		}
		infos = append(infos, control.NewPathInfo(s.Dir(), i))
	}
	if a.flags.json {
		return a.printJSON(infos)
	}
	for n, i := range infos {
		if n > 0 {
			if _, err := fmt.Fprintln(a.Out); err != nil {
				return err
			}
		}
		if err := a.printInfo(&i); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printInfo(i *control.PathInfo) error {
	var b strings.Builder
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-12s%s\n", name, value)
		}
	}
	row("path", i.Path)
	row("narHash", i.NarHash)
	row("narSize", fmt.Sprintf("%d (%s)", i.NarSize, humanBytes(int64(i.NarSize))))
	row("deriver", i.Deriver)
	row("ca", i.CA)
	for _, r := range i.References {
		row("reference", r)
	}
	for _, s := range i.Signatures {
		row("signature", s)
	}
	if i.Ultimate {
		row("built", "here")
	}
	_, err := io.WriteString(a.Out, b.String())
	return err
}
