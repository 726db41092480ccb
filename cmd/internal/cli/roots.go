package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"larder/cmd/internal/control"
	"larder/cmd/internal/terminal"
	"larder/store"
)

func (a *app) rootsCommand() *cobra.Command {
	list := &cobra.Command{
		Use:     "list",
		Short:   "List the GC roots",
		Long:    "Lists what keeps paths from being deleted: the link and the path, one a line. {temp} is a process at work.",
		Example: "  larder roots list",
		Args:    exactly(0, 0, "no argument"),
		RunE:    func(c *cobra.Command, _ []string) error { return a.listRoots(c.Context()) },
	}
	add := &cobra.Command{
		Use:   "add LINK PATH",
		Short: "Make a symlink to a valid path, and a GC root",
		Long: `Makes the symlink LINK to the store path PATH and registers it as a GC root: PATH and all it refers to stay for as
long as LINK is there. An old LINK into the store is replaced; anything else in its place is left alone.`,
		Example: "  larder roots add ./result /nix/store/5jqndlcpjbnlf2lkmz2zxxm3vhx4x3s7-hello-2.12.1",
		Args:    exactly(2, 2, "a LINK and a PATH"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withPaths(c.Context(), writing, args[1:], func(s control.Service, paths []store.StorePath) error {
				return a.addRoot(c.Context(), s, a.absolute(args[0]), paths[0])
			})
		},
	}
	remove := &cobra.Command{
		Use:     "remove LINK...",
		Short:   "Remove symlinks that are GC roots",
		Long:    "Removes symlinks into the store. What only they kept is deleted by the next 'larder gc'.",
		Example: "  larder roots remove ./result",
		Args:    atLeast(1, "a LINK"),
		RunE:    func(_ *cobra.Command, args []string) error { return a.removeRoots(args) },
	}
	c := group("roots [COMMAND]", "What garbage collection keeps",
		"GC roots: symlinks to store paths that garbage collection keeps, with all they refer to.\nWithout a COMMAND they are listed.",
		list, add, remove)
	c.RunE = list.RunE
	return c
}

func (a *app) listRoots(ctx context.Context) error {
	return a.withStore(ctx, reading, func(s control.Service) error {
		roots, err := s.Roots(ctx)
		if err != nil {
			return err
		}
		if a.flags.json {
			rows := []map[string]string{}
			for _, r := range roots {
				rows = append(rows, map[string]string{"link": r.Link, "path": s.Dir().Join(r.Path)})
			}
			return a.printJSON(rows)
		}
		for _, r := range roots {
			if _, err := fmt.Fprintf(a.Out, "%s -> %s\n", terminal.Clean(r.Link), s.Dir().Join(r.Path)); err != nil {
				return err
			}
		}
		return nil
	})
}

// addRoot makes the link, as the user who runs the command, and then tells the store of it.
func (a *app) addRoot(ctx context.Context, s control.Service, link string, p store.StorePath) error {
	if _, err := s.PathInfo(ctx, p); err != nil {
		return err
	}
	if err := checkRoot(s.Dir(), link); err != nil {
		return err
	}
	// The new link takes the old one's place in one step: what the old one kept stays kept until then.
	temp := filepath.Join(filepath.Dir(link), fmt.Sprintf(".larder-root-%d", os.Getpid()))
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(s.Dir().Join(p), temp); err != nil {
		return err
	}
	if err := os.Rename(temp, link); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return s.AddRoot(ctx, link)
}

// checkRoot refuses a link that could not be made, or that would replace anything but a symlink into the store.
func checkRoot(d store.Dir, link string) error {
	if info, err := os.Stat(filepath.Dir(link)); err != nil {
		return fmt.Errorf("the root %s can't be made: %w", link, err)
	} else if !info.IsDir() {
		return fmt.Errorf("the root %s can't be made: %s is not a directory", link, filepath.Dir(link))
	}
	target, err := os.Readlink(link)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, _, err = d.Split(target)
	}
	if err != nil {
		return fmt.Errorf("%s is there already and is not a symlink into %s; remove it or name another", link, d)
	}
	return nil
}

func (a *app) removeRoots(args []string) error {
	c, err := a.settings()
	if err != nil {
		return err
	}
	for _, arg := range args {
		link := a.absolute(arg)
		target, err := os.Readlink(link)
		if err == nil {
			_, _, err = store.Dir(c.StoreDir).Split(target)
		}
		if err != nil {
			return fmt.Errorf("%s is not a symlink into %s; it is left alone", link, c.StoreDir)
		}
		if err := os.Remove(link); err != nil {
			return err
		}
	}
	return nil
}
