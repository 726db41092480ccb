package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"larder/cmd/internal/control"
	"larder/store"
	"larder/store/derivation"
)

// maxDerivation bounds the text of a derivation, in bytes.
const maxDerivation = 64 << 20

func (a *app) derivationCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE...",
		Short: "Check derivation files without a store",
		Long: `Checks derivation files: each is parsed and printed again, and must come out the same; its output paths, and its own
path if the file is named like one, are computed and must be those it has. Input derivations are looked for among the
files; their order does not matter. A directory stands for the .drv files in it. Nothing but the files is read.

Each file that is wrong gets one line on standard error; then the exit status is 1.`,
		Example: "  larder derivation check /nix/store/*.drv",
		Args:    atLeast(1, "a FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := a.settings()
			if err != nil {
				return err
			}
			files, err := a.expand(args)
			if err != nil {
				return err
			}
			return a.checkDerivations(c.Context(), store.Dir(cfg.StoreDir), files)
		},
	}
}

// expand replaces directories by the .drv files in them.
func (a *app) expand(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		name := a.absolute(arg)
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, name)
			continue
		}
		entries, err := os.ReadDir(name)
		if err != nil {
			return nil, err
		}
		before := len(files)
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".drv") {
				files = append(files, filepath.Join(name, e.Name()))
			}
		}
		if len(files) == before {
			return nil, fmt.Errorf("there is no .drv file in %s", name)
		}
	}
	return files, nil
}

// drvFile is a derivation file under check.
type drvFile struct {
	name string
	path store.StorePath // what it is named like; zero if like nothing in a store
	own  store.StorePath // what it is
	drv  *derivation.Derivation
	err  error
}

func (a *app) checkDerivations(ctx context.Context, d store.Dir, names []string) error {
	files := make([]drvFile, len(names))
	g, reading := errgroup.WithContext(ctx)
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		g.Go(func() error {
			for i := w; i < len(files) && reading.Err() == nil; i += workers {
				files[i].read(d, names[i])
			}
			return context.Cause(reading)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return a.reportDerivations(ctx, d, files)
}

// read parses the file and prints it again.
func (f *drvFile) read(d store.Dir, name string) {
	f.name = name
	text, err := readLimited(name, maxDerivation)
	if err != nil {
		f.err = err
		return
	}
	f.path, _ = store.ParseStorePath(filepath.Base(name)) // else it is named otherwise
	f.drv, f.err = control.ParseDerivation(d, derivationName(name), text)
	if f.err != nil {
		return
	}
	if f.own, f.err = f.drv.Path(d); f.err == nil && !control.IsJSON(text) && !bytes.Equal(f.drv.ATerm(d), text) {
		f.err = errors.New("printed again, it is not the same")
	}
}

func (a *app) reportDerivations(ctx context.Context, d store.Dir, files []drvFile) error {
	known := make(map[store.StorePath]*derivation.Derivation, len(files))
	for i := range files {
		// What stands under a name is what others mean by it, even if the name is wrong: that is one error, not many.
		if f := &files[i]; f.drv != nil && !f.path.IsZero() {
			known[f.path] = f.drv
		} else if f.drv != nil {
			known[f.own] = f.drv
		}
	}
	h := derivation.NewHasher(d, func(_ context.Context, p store.StorePath) (*derivation.Derivation, error) {
		if drv := known[p]; drv != nil {
			return drv, nil
		}
		return nil, errors.New("it is not among the files, or is malformed")
	})
	bad := 0
	for i := range files {
		f := &files[i]
		if f.err == nil {
			f.err = h.Check(ctx, f.path, f.drv)
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if f.err != nil {
			bad++
			fmt.Fprintf(a.Err, "%s: %s\n", f.name, oneLine(f.err.Error()))
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d derivations are wrong", bad, len(files))
	}
	verb := "are"
	if len(files) == 1 {
		verb = "is"
	}
	_, err := fmt.Fprintf(a.Out, "%s %s right\n", counted(len(files), "derivation"), verb)
	return err
}

// readLimited reads a file of at most so many bytes.
func readLimited(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s is longer than %d bytes", name, most)
	}
	return b, err
}
