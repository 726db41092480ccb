package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"larder/cmd/internal/control"
	"larder/store"
	"larder/store/derivation"
)

func (a *app) derivationCommand() *cobra.Command {
	add := &cobra.Command{
		Use:   "add FILE...",
		Short: "Register derivations",
		Long: `Registers derivations from files in ATerm form (.drv) or JSON ('larder derivation show', 'nix show-derivation'), -
for standard input, and prints their store paths. Output paths that are missing are filled in; those that are there
must be right. The order of files does not matter; what they refer to must be among them or valid.`,
		Example: "  larder derivation add hello.json",
		Args:    atLeast(1, "a FILE"),
		RunE:    func(c *cobra.Command, args []string) error { return a.addDerivations(c.Context(), args) },
	}
	old := false
	show := &cobra.Command{
		Use:   "show FILE|DRV...",
		Short: "Print derivations as JSON",
		Long: `Prints derivations, files or registered ones, as JSON in the form of the current 'nix derivation show', or with --old
in that of 'nix show-derivation' of Nix 2.8.`,
		Example: "  larder derivation show /nix/store/2ndhd8xw8i2d4sdrl2fbvjdfdfdgs6p9-hello-2.12.1.drv",
		Args:    atLeast(1, "a FILE or DRV"),
		RunE: func(c *cobra.Command, args []string) error {
			format := derivation.Format4
			if old {
				format = derivation.FormatShow
			}
			return a.showDerivations(c.Context(), args, format)
		},
	}
	show.Flags().BoolVar(&old, "old", false, "in the form of Nix 2.8")
	return group("derivation COMMAND", "Derivations: add, show, check", "Derivations: what says how store paths are built.",
		add, show, a.derivationCheckCommand())
}

// source is a derivation in a file.
type source struct {
	file string
	name string // without .drv
	text []byte
	drv  *derivation.Derivation
}

// readDerivations reads a file, which holds one derivation, or several in the form of 'derivation show'.
func (a *app) readDerivations(d store.Dir, file string) ([]*source, error) {
	var text []byte
	err := a.withFile(file, func(r io.Reader) (err error) {
		text, err = io.ReadAll(io.LimitReader(r, maxDerivation+1))
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(text) > maxDerivation {
		return nil, fmt.Errorf("%s is longer than %d bytes", file, maxDerivation)
	}
	if control.IsJSON(text) && !isOne(text) {
		return readShown(d, file, text)
	}
	s := &source{file: file, text: text, name: derivationName(file)}
	if s.drv, err = control.ParseDerivation(d, s.name, text); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	s.name = s.drv.Name
	return []*source{s}, nil
}

// isOne tells the JSON of one derivation from that of several by their paths.
func isOne(text []byte) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return true // and the parser says what is wrong
	}
	_, builder := members["builder"]
	_, outputs := members["outputs"]
	return builder || outputs || len(members) == 0
}

func readShown(d store.Dir, file string, text []byte) ([]*source, error) {
	drvs, err := derivation.FromShowJSON(d, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var sources []*source
	for _, p := range slices.SortedFunc(maps.Keys(drvs), store.StorePath.Compare) {
		drv := drvs[p]
		if own, err := drv.Path(d); err != nil || own != p {
			return nil, fmt.Errorf("%s: what it says of %s is not that derivation, it would be %s", file, p, own)
		}
		sources = append(sources, &source{file: file, name: drv.Name, text: drv.ATerm(d), drv: drv})
	}
	return sources, nil
}

// derivationName is the name of the derivation in a file that is called like a store path or just NAME.drv or NAME.json; ""
// for standard input, whose text must say it.
func derivationName(file string) string {
	if file == "-" {
		return ""
	}
	name := filepath.Base(file)
	if p, err := store.ParseStorePath(name); err == nil {
		name = p.Name()
	}
	return strings.TrimSuffix(strings.TrimSuffix(name, ".json"), ".drv")
}

func (a *app) addDerivations(ctx context.Context, files []string) error {
	cfg, err := a.settings()
	if err != nil {
		return err
	}
	d := store.Dir(cfg.StoreDir)
	sources := make([]*source, 0, len(files))
	for _, f := range files {
		some, err := a.readDerivations(d, f)
		if err != nil {
			return err
		}
		sources = append(sources, some...)
	}
	order, err := inputsFirst(d, sources)
	if err != nil {
		return err
	}
	return a.withStore(ctx, writing, func(s control.Service) error {
		if err := checkSources(ctx, s, order); err != nil {
			return err
		}
		paths := map[*source]store.StorePath{}
		for _, src := range order {
			p, err := s.AddDerivation(ctx, src.name, src.text)
			if err != nil {
				return fmt.Errorf("%s: %w", src.file, err)
			}
			paths[src] = p
		}
		added := make([]store.StorePath, 0, len(sources))
		for _, src := range sources {
			added = append(added, paths[src])
		}
		return a.printPaths(s.Dir(), added)
	})
}

// checkSources finds everything that is wrong with derivations before the first of them is registered: output paths, and
// references that are neither among them nor valid. Inputs come before those that have them.
func checkSources(ctx context.Context, s control.Service, order []*source) error {
	among := make(map[store.StorePath]*derivation.Derivation, len(order))
	valid := map[store.StorePath]bool{}
	h := derivation.NewHasher(s.Dir(), func(ctx context.Context, p store.StorePath) (*derivation.Derivation, error) {
		if drv := among[p]; drv != nil {
			return drv, nil
		}
		return s.Derivation(ctx, p)
	})
	for _, src := range order {
		if err := h.Fill(ctx, src.drv); err != nil {
			return fmt.Errorf("%s: %w", src.file, err)
		}
		for _, p := range src.drv.References() {
			if among[p] != nil || valid[p] {
				continue
			}
			_, err := s.PathInfo(ctx, p)
			if errors.Is(err, store.ErrNotValid) {
				return fmt.Errorf("%s: it refers to %s, which is neither valid nor among the files", src.file, s.Dir().Join(p))
			}
			if err != nil {
				return fmt.Errorf("%s: %w", src.file, err)
			}
			valid[p] = true
		}
		p, err := src.drv.Path(s.Dir())
		if err != nil {
			return fmt.Errorf("%s: %w", src.file, err)
		}
		among[p] = src.drv
	}
	return nil
}

// inputsFirst orders derivations so that each comes after those it depends on, otherwise as given. The path of one that lacks
// output paths is not known yet; nothing can depend on it by name.
func inputsFirst(d store.Dir, sources []*source) ([]*source, error) {
	byPath := make(map[store.StorePath]*source, len(sources))
	for _, s := range sources {
		if p, err := s.drv.Path(d); err == nil {
			byPath[p] = s
		}
	}
	var order []*source
	state := make(map[*source]int, len(sources)) // 1: on the stack, 2: done
	for _, s := range sources {
		// A stack of our own: chains of derivations are long.
		for stack := []*source{s}; len(stack) > 0; {
			top := stack[len(stack)-1]
			if state[top] == 0 {
				state[top] = 1
				for p := range top.drv.InputDrvs {
					switch in := byPath[p]; {
					case in == nil || state[in] == 2:
					case state[in] == 1:
						return nil, fmt.Errorf("%s: it depends on itself through %s", top.file, in.file)
					default:
						stack = append(stack, in)
					}
				}
				continue
			}
			stack = stack[:len(stack)-1]
			if state[top] == 1 {
				state[top] = 2
				order = append(order, top)
			}
		}
	}
	return order, nil
}

func (a *app) showDerivations(ctx context.Context, args []string, format derivation.Format) error {
	cfg, err := a.settings()
	if err != nil {
		return err
	}
	d := store.Dir(cfg.StoreDir)
	drvs := map[store.StorePath]*derivation.Derivation{}
	var registered []store.StorePath
	for _, arg := range args {
		if p, err := a.parsePath(d, arg); err == nil {
			registered = append(registered, p)
			continue
		}
		some, err := a.readDerivations(d, arg)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%q is neither a store path nor a file", arg)
		}
		if err != nil {
			return err
		}
		for _, s := range some {
			p, err := s.drv.Path(d)
			if err != nil {
				return fmt.Errorf("%s: %w", arg, err)
			}
			drvs[p] = s.drv
		}
	}
	if len(registered) > 0 {
		err := a.withStore(ctx, reading, func(s control.Service) (err error) {
			for _, p := range registered {
				if drvs[p], err = s.Derivation(ctx, p); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	text, err := derivation.ShowJSON(d, format, drvs)
	if err != nil {
		return err
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	_, err = a.Out.Write(text)
	return err
}
