package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"larder/nar"
	"larder/store"
	"larder/store/derivation"
	"larder/store/local"
)

// planning compares what it costs to find out that there is next to nothing to
// do: a derivation that has not been built uses all of a large graph, which has.
func (s *suite) planning() []contest {
	const size, layers = 20_000, 40
	return []contest{{
		name: fmt.Sprintf("plan of a graph of %d derivations, already valid", size),
		peer: "real Nix (`nix-store --realise --dry-run`)", aim: "≤ 1", memory: "≤ 1",
		pair: func() (pair, error) {
			g, err := s.generate(size, layers)
			if err != nil {
				return pair{}, err
			}
			if err := s.loadIntoNix(g); err != nil {
				return pair{}, err
			}
			ours := []string{"--store-dir", "/nix/store", "--object-dir", g.objects, "--state-dir", g.state,
				"--option", "substituters", "", "realise", "--dry-run", g.top}
			nix := []string{"--store", "local?root=" + g.nix, "--realise", "--dry-run", "--option", "substituters", "", g.top}
			return pair{s.timed(s.larder, ours...), s.timed("nix-store", nix...)}, nil
		},
	}}
}

// generated is a graph in a Larder store, and in a store of Nix.
type generated struct {
	objects, state, nix string
	top                 string // the derivation that uses all others; nothing of it has been built
	infos               []*store.PathInfo
}

// generate makes size derivations in layers, each with up to ten inputs in the layers
// before, and registers them and their outputs.
func (s *suite) generate(size, layers int) (_ generated, err error) {
	dir, err := s.dir("graph.")
	if err != nil {
		return generated{}, err
	}
	g := generated{objects: dir + "/objects", state: dir + "/state", nix: dir + "/nix"}
	db, err := local.Open(s.ctx, local.Options{StoreDir: store.DefaultDir, ObjectDir: g.objects, StateDir: g.state, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return g, err
	}
	defer db.Close()
	random := rand.New(rand.NewPCG(1, 0))
	hasher := derivation.NewHasher(store.DefaultDir, db.Derivation)
	outputs := map[store.StorePath]store.StorePath{} // by derivation
	var drvs []store.StorePath
	derive := func(name string, inputs []store.StorePath) (*derivation.Derivation, error) {
		d := &derivation.Derivation{Name: name, System: "x86_64-linux", Builder: "/bin/sh", Args: []string{"-c", "echo > $out"},
			InputDrvs: map[store.StorePath][]string{}, Outputs: map[string]derivation.Output{"out": {}}, Env: map[string]string{"name": name}}
		for _, in := range inputs {
			d.InputDrvs[in] = []string{"out"}
			d.Env["inputs"] += store.DefaultDir.Join(outputs[in]) + " "
		}
		return d, hasher.Fill(s.ctx, d)
	}
	for layer := range layers {
		adds := make([]store.Addition, size/layers)
		added := make([]store.StorePath, len(adds))
		var group errgroup.Group
		group.SetLimit(64) // they share commits
		for i := range adds {
			var inputs []store.StorePath
			for range random.IntN(11) {
				if layer > 0 {
					inputs = append(inputs, drvs[random.IntN(len(drvs))])
				}
			}
			d, err := derive(fmt.Sprintf("package-%d-%d", layer, i), inputs)
			if err != nil {
				return g, err
			}
			group.Go(func() (err error) {
				if added[i], err = db.AddDerivation(s.ctx, d); err == nil {
					adds[i], err = output(s, db, d, added[i], outputs)
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return g, err
		}
		if err := db.Register(s.ctx, adds...); err != nil {
			return g, err
		}
		for i, drv := range added {
			info, err := db.PathInfo(s.ctx, drv)
			if err != nil {
				return g, err
			}
			drvs, outputs[drv] = append(drvs, drv), adds[i].Info.Path
			g.infos = append(g.infos, info, adds[i].Info)
		}
	}
	d, err := derive("environment", drvs)
	if err != nil {
		return g, err
	}
	top, err := db.AddDerivation(s.ctx, d)
	if err != nil {
		return g, err
	}
	info, err := db.PathInfo(s.ctx, top)
	g.top, g.infos = store.DefaultDir.Join(top), append(g.infos, info)
	return g, err
}

// output makes the output of a derivation, ready to be registered. It refers to those of all inputs.
func output(s *suite, db *local.Store, d *derivation.Derivation, drv store.StorePath, outputs map[store.StorePath]store.StorePath) (store.Addition, error) {
	temp, err := db.NewTemp(s.ctx)
	if err != nil {
		return store.Addition{}, err
	}
	file := filepath.Join(db.ObjectDir(), temp)
	if err := os.WriteFile(file, []byte(d.Name), 0o444); err != nil {
		return store.Addition{}, err
	}
	var archive bytes.Buffer
	if _, err := nar.Dump(s.ctx, &archive, file); err != nil {
		return store.Addition{}, err
	}
	info := &store.PathInfo{Path: d.Outputs["out"].Path, Deriver: drv, NarHash: store.SHA256.Sum(archive.Bytes()), NarSize: uint64(archive.Len())}
	for in := range d.InputDrvs {
		info.References = append(info.References, outputs[in])
	}
	info.References = store.SortPaths(info.References)
	return store.Addition{Info: info, Temp: temp}, nil
}

// loadIntoNix registers the same with a store of Nix, which gets the same files.
func (s *suite) loadIntoNix(g generated) error {
	dir := g.nix + "/nix/store"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var text bytes.Buffer
	for _, i := range g.infos {
		if err := os.Link(filepath.Join(g.objects, i.Path.String()), filepath.Join(dir, i.Path.String())); err != nil {
			return err
		}
		deriver := ""
		if !i.Deriver.IsZero() {
			deriver = store.DefaultDir.Join(i.Deriver)
		}
		fmt.Fprintf(&text, "%s\n%s\n%d\n%s\n%d\n", store.DefaultDir.Join(i.Path), strings.TrimPrefix(i.NarHash.Text(store.Base16), "sha256:"), i.NarSize, deriver, len(i.References))
		for _, r := range i.References {
			fmt.Fprintln(&text, store.DefaultDir.Join(r))
		}
	}
	cmd := exec.CommandContext(s.ctx, "nix-store", "--store", "local?root="+g.nix, "--load-db")
	cmd.Stdin = &text
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nix-store --load-db: %w: %s", err, out)
	}
	return nil
}
