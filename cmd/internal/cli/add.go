package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"larder/cmd/internal/control"
	"larder/nar"
	"larder/store"
)

type addFlags struct {
	name, algo string
	flat       bool
	references []string
}

func (a *app) addCommand() *cobra.Command {
	var f addFlags
	c := &cobra.Command{
		Use:   "add PATH...",
		Short: "Copy files into the store",
		Long: `Copies files and directories into the store, under paths that their contents give, and prints those. Symlinks are
copied, not followed. With --flat only a regular file's contents count, and not whether it is executable.`,
		Example: "  larder add --name src ./hello",
		Args:    atLeast(1, "a PATH"),
		RunE: func(c *cobra.Command, args []string) error {
			if f.name != "" && len(args) > 1 {
				return usagef("--name is for one PATH only, %d were given", len(args))
			}
			return a.add(c.Context(), args, f)
		},
	}
	c.Flags().StringVar(&f.name, "name", "", "the name after the digest (default: the file's)")
	c.Flags().StringVar(&f.algo, "algo", "sha256", "md5, sha1, sha256, sha512 or blake3")
	c.Flags().BoolVar(&f.flat, "flat", false, "hash the contents of a file instead of its NAR")
	c.Flags().StringArrayVar(&f.references, "reference", nil, "a store `PATH` that the contents refer to; can be repeated")
	return c
}

func (a *app) add(ctx context.Context, args []string, f addFlags) error {
	cfg, err := a.settings()
	if err != nil {
		return err
	}
	q := control.AddRequest{Method: store.Recursive}
	if f.flat {
		q.Method = store.Flat
	}
	if q.Algo, err = store.ParseHashAlgo(f.algo); err != nil {
		return err
	}
	if q.References, err = a.parsePaths(store.Dir(cfg.StoreDir), f.references); err != nil {
		return err
	}
	// Everything that can be wrong with the arguments is found before anything is added.
	names := make([]string, len(args))
	for i, arg := range args {
		if _, err := os.Lstat(a.absolute(arg)); err != nil {
			return err
		}
		if names[i] = f.name; names[i] == "" {
			names[i] = filepath.Base(a.absolute(arg))
		}
		if err := store.CheckName(names[i]); err != nil {
			return fmt.Errorf("%s: %w; give another with --name", arg, err)
		}
	}
	return a.withStore(ctx, writing, func(s control.Service) error {
		for i, arg := range args {
			q.Name = names[i]
			p, err := addFile(ctx, s, q, a.absolute(arg))
			if err != nil {
				return err
			}
			if err := a.printPaths(s.Dir(), []store.StorePath{p}); err != nil {
				return err
			}
		}
		return nil
	})
}

// addFile streams the NAR of a file to the store. The goroutine that reads the file ends before addFile does.
func addFile(ctx context.Context, s control.Service, q control.AddRequest, name string) (store.StorePath, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	dumped := make(chan error, 1)
	go func() {
		err := dumpFor(ctx, w, q.Method, name)
		w.CloseWithError(err) // nil: end of file
		dumped <- err
	}()
	p, err := s.Add(ctx, q, r)
	r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	// What went wrong with the file is the better reason.
	if failed := <-dumped; failed != nil && !errors.Is(failed, io.ErrClosedPipe) {
		return p, failed
	}
	return p, err
}

// dumpFor writes the NAR of a file. What is hashed flat is never executable.
func dumpFor(ctx context.Context, w io.Writer, m store.Method, name string) error {
	if m == store.Recursive {
		_, err := nar.Dump(ctx, w, name)
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file, and --flat is for those", name)
	}
	n := nar.NewWriter(w)
	if err := n.WriteEntry(&nar.Entry{Type: nar.Regular, Size: info.Size()}); err != nil {
		return err
	}
	if _, err := io.Copy(n, f); err != nil {
		return err
	}
	return n.Close()
}
