package main

import (
	"os"
	"path/filepath"
	"strings"
)

// builds compares trivial sandboxed derivations with real Nix: all that is
// measured is what a build costs beyond its builder.
func (s *suite) builds() []contest {
	return []contest{{
		name: "200 trivial derivations, sandboxed, -j2",
		peer: "real Nix (`nix-store --realise`)",
		aim:  "≤ 1",
		pair: func() (pair, error) {
			expr := `map (n: derivation { name = "trivial-${toString n}"; system = builtins.currentSystem;
				builder = "/bin/sh"; args = [ "-c" "echo ${toString n} > $out" ]; }) (builtins.genList (n: n) 200)`
			origin, err := s.dir("drvs.")
			if err != nil {
				return pair{}, err
			}
			out, err := s.command("nix-instantiate", "--store", "local?root="+origin, "--expr", expr)
			if err != nil {
				return pair{}, err
			}
			drvs := strings.Fields(out)
			return pair{s.larderBuilds(origin, drvs), s.nixBuilds(expr, drvs)}, nil
		},
	}}
}

func (s *suite) larderBuilds(origin string, drvs []string) side {
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
			args := append(global(), "derivation", "add")
			for _, d := range drvs {
				args = append(args, filepath.Join(origin, d))
			}
			_, err := s.command(s.larder, args...)
			return err
		},
		work: func() error {
			_, err := s.command(s.larder, append(append(global(), "realise", "-j", "2"), drvs...)...)
			return err
		},
	}
}

func (s *suite) nixBuilds(expr string, drvs []string) side {
	var dir string
	fresh := s.freshDir(&dir)
	return side{
		prepare: func() error {
			if err := fresh(); err != nil {
				return err
			}
			_, err := s.command("nix-instantiate", "--store", "local?root="+dir, "--expr", expr)
			return err
		},
		work: func() error {
			args := []string{"--store", "local?root=" + dir, "--realise", "-j", "2", "--option", "sandbox", "true",
				"--option", "sandbox-paths", "/bin/sh=" + busybox(), "--option", "build-users-group", "", "--option", "substituters", ""}
			_, err := s.command("nix-store", append(args, drvs...)...)
			return err
		},
	}
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
