package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// builds compares trivial sandboxed derivations with real Nix, and with the
// least that sandboxes cost: all that is measured is what a build costs beyond
// its builder. What is built is registered durably on our side.
func (s *suite) builds() []contest {
	const (
		many  = 1000
		chain = 200
		// trivial makes the derivation number n that uses the paths before.
		trivial = `n: before: derivation { name = "trivial-${toString n}"; system = builtins.currentSystem;
			builder = "/bin/sh"; args = [ "-c" "echo ${before} ${toString n} > $out" ]; }`
	)
	nix := "real Nix (`nix-store --realise`)"
	independent := fmt.Sprintf(`let trivial = %s; in map (n: trivial n "") (builtins.genList (n: n) %d)`, trivial, many)
	chained := fmt.Sprintf(`let trivial = %s; in builtins.foldl' (before: n: trivial n before) "" (builtins.genList (n: n) %d)`, trivial, chain)
	return []contest{{
		name: fmt.Sprintf("%d trivial derivations, sandboxed, -j2", many), peer: nix, aim: "≤ 0.25", memory: "≤ 1",
		pair: func() (pair, error) {
			g, err := s.instantiate(independent)
			return pair{s.larderBuilds(g, 2), s.nixBuilds(g, 2)}, err
		},
	}, {
		name: fmt.Sprintf("a chain of %d trivial derivations, sandboxed", chain), peer: nix, aim: "≤ 0.25", memory: "≤ 1",
		pair: func() (pair, error) {
			g, err := s.instantiate(chained)
			return pair{s.larderBuilds(g, 2), s.nixBuilds(g, 2)}, err
		},
	}, {
		name: fmt.Sprintf("%d trivial derivations, sandboxed, -j1", many),
		peer: "clone + mounts + pivot_root + seccomp + exec of the same builders, and nothing else",
		aim:  "≤ 1.5",
		pair: func() (pair, error) {
			g, err := s.instantiate(independent)
			if err != nil {
				return pair{}, err
			}
			floor, err := s.floor(many)
			return pair{s.larderBuilds(g, 1), floor}, err
		},
	}}
}

// instantiated is what a Nix expression evaluates to.
type instantiated struct {
	expr    string
	targets []string // derivations
	files   []string // of all derivations
}

func (s *suite) instantiate(expr string) (instantiated, error) {
	origin, err := s.dir("drvs.")
	if err != nil {
		return instantiated{}, err
	}
	out, err := s.command("nix-instantiate", "--store", "local?root="+origin, "--expr", expr)
	if err != nil {
		return instantiated{}, err
	}
	files, err := filepath.Glob(origin + "/nix/store/*.drv")
	return instantiated{expr, strings.Fields(out), files}, err
}

func (s *suite) larderBuilds(g instantiated, jobs int) side {
	var dir string
	fresh := s.freshDir(&dir)
	global := func() []string {
		return []string{"--store-dir", "/nix/store", "--object-dir", dir + "/objects", "--state-dir", dir + "/state",
			"--option", "sandbox-paths", "/bin/sh=" + busybox(), "--option", "substituters", ""}
	}
	return side{
		prepare: func() error {
			if err := fresh(); err != nil {
				return err
			}
			_, err := s.command(s.larder, append(append(global(), "derivation", "add"), g.files...)...)
			return err
		},
		work: func() error {
			_, err := s.command(s.larder, append(append(global(), "realise", "-j", fmt.Sprint(jobs)), g.targets...)...)
			return err
		},
	}
}

func (s *suite) nixBuilds(g instantiated, jobs int) side {
	var dir string
	fresh := s.freshDir(&dir)
	return side{
		prepare: func() error {
			if err := fresh(); err != nil {
				return err
			}
			_, err := s.command("nix-instantiate", "--store", "local?root="+dir, "--expr", g.expr)
			return err
		},
		work: func() error {
			args := []string{"--store", "local?root=" + dir, "--realise", "-j", fmt.Sprint(jobs), "--option", "sandbox", "true",
				"--option", "sandbox-paths", "/bin/sh=" + busybox(), "--option", "build-users-group", "", "--option", "substituters", ""}
			_, err := s.command("nix-store", append(args, g.targets...)...)
			return err
		},
	}
}

//go:embed testdata/floor.c
var floorSource []byte

// floor compiles floor.c and runs it.
func (s *suite) floor(runs int) (side, error) {
	top, err := s.dir("floor.")
	if err != nil {
		return side{}, err
	}
	source, program := top+"/floor.c", top+"/floor"
	if err := os.WriteFile(source, floorSource, 0o644); err != nil {
		return side{}, err
	}
	if _, err := s.command("gcc", "-O2", "-o", program, source); err != nil {
		return side{}, err
	}
	var dir string
	fresh := s.freshDir(&dir)
	return side{
		prepare: func() error {
			if err := fresh(); err != nil {
				return err
			}
			for _, d := range []string{"/store", "/build"} {
				if err := os.Mkdir(dir+d, 0o755); err != nil {
					return err
				}
			}
			return nil
		},
		work: func() error {
			_, err := s.command(program, fmt.Sprint(runs), dir, busybox())
			return err
		},
	}, nil
}

// busybox is Debian's static shell.
func busybox() string {
	for _, p := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	panic("bench: no busybox: apt-get install busybox-static")
}
