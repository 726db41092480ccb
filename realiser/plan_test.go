package realiser_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"larder/realiser"
	"larder/store"
	"larder/store/cache"
)

// nixPlan is what a dry run of Nix says.
type nixPlan struct {
	build, fetch, unknown []string
	sizes                 string // "0.00 MiB download, 0.01 MiB unpacked"
}

var fetchLine = regexp.MustCompile(`will be fetched \((.*)\)`)

func (n *nixBeside) dryRun(cache string, targets ...string) (p nixPlan) {
	n.t.Helper()
	args := append([]string{"-r", "--dry-run", "--option", "substituters", cache, "--option", "require-sigs", "false"}, targets...)
	_, said, err := n.run("nix-store", args...)
	if err != nil {
		n.t.Fatalf("nix-store %q: %v\n%s", args, err, said)
	}
	var list *[]string
	for line := range strings.Lines(said) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.Contains(line, "will be built"):
			list = &p.build
		case strings.Contains(line, "will be fetched"):
			list = &p.fetch
			p.sizes = fetchLine.FindStringSubmatch(line)[1]
		case strings.Contains(line, "don't know how to build"):
			list = &p.unknown
		case strings.HasPrefix(line, "  /nix/store/") && list != nil:
			*list = append(*list, strings.TrimSpace(line))
		default:
			list = nil
		}
	}
	for _, l := range []*[]string{&p.build, &p.fetch, &p.unknown} {
		slices.Sort(*l)
	}
	return p
}

// ours says a plan of Larder's in the same way.
func ours(p *realiser.Plan) nixPlan {
	names := func(paths []store.StorePath) (list []string) {
		for _, q := range paths {
			list = append(list, store.DefaultDir.Join(q))
		}
		slices.Sort(list)
		return list
	}
	n := nixPlan{build: names(p.Build), fetch: names(p.Substitute), unknown: names(p.Unknown)}
	if len(n.fetch) > 0 {
		const mib = 1 << 20
		n.sizes = fmt.Sprintf("%.2f MiB download, %.2f MiB unpacked", float64(p.DownloadSize)/mib, float64(p.UnpackedSize)/mib)
	}
	return n
}

// TestPlanBesideNix compares dry runs with those of real Nix, on the same store and the same caches.
func TestPlanBesideNix(t *testing.T) {
	sameUnderRace(t)
	t.Parallel()
	made := newNixBeside(t)
	out := func(attr string, outputs ...string) (paths []string) {
		drv := made.instantiate("plan.nix", attr)
		for _, o := range outputs {
			for _, line := range strings.Fields(made.ok("nix-store", "-q", "--outputs", drv)) {
				name := line[strings.Index(line, "-")+1:]
				if name == attr && o == "out" || name == attr+"-"+o {
					paths = append(paths, line)
				}
			}
		}
		return paths
	}
	for _, attr := range []string{"lib", "multi", "local", "structured"} {
		made.ok("nix-store", "-r", made.instantiate("plan.nix", attr))
	}
	for _, c := range []struct {
		name   string
		valid  []string // in the store
		cached []string
		target []string // attributes; or paths
	}{
		{"nothing is here", nil, nil, []string{"top"}},
		{"all is cached that can be", nil, slices.Concat(out("lib", "out"), out("multi", "out", "dev", "doc"), out("local", "out"), out("structured", "out")), []string{"top"}},
		{"outputs are valid", out("lib", "out"), nil, []string{"top", "multi"}},
		{"some outputs are valid, others cached", out("multi", "out"), out("multi", "dev", "doc"), []string{"multi"}},
		{"some outputs are valid, others nowhere", out("multi", "out"), out("multi", "dev"), []string{"multi"}},
		{"all valid", out("multi", "out", "dev", "doc"), nil, []string{"multi"}},
		{"no substitutes allowed", nil, slices.Concat(out("local", "out"), out("structured", "out")), []string{"local", "structured"}},
		{"a path that is cached", nil, out("lib", "out"), out("lib", "out")},
		{"a path that nobody has", nil, nil, []string{"/nix/store/00000000000000000000000000000000-nowhere"}},
		{"a derivation that nobody has", nil, nil, []string{"/nix/store/00000000000000000000000000000000-nowhere.drv"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			nix, made := newNixBeside(t), &nixBeside{t, made.dir}
			dir := t.TempDir()
			if len(c.cached) > 0 {
				made.ok("nix", append([]string{"copy", "--to", "file://" + dir}, c.cached...)...)
			} else if err := os.WriteFile(filepath.Join(dir, "nix-cache-info"), []byte("StoreDir: /nix/store\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if len(c.valid) > 0 {
				made.ok("nix", append([]string{"copy", "--no-check-sigs", "--to", nix.dir}, c.valid...)...)
			}
			var args []string
			var targets []realiser.Target
			here := slices.Clone(c.valid)
			for _, target := range c.target {
				if strings.HasPrefix(target, "/") {
					args = append(args, target)
					p := parsePath(t, target)
					if p.IsDerivation() {
						targets = append(targets, realiser.Target{Drv: p})
					} else {
						targets = append(targets, realiser.Target{Path: p})
					}
					continue
				}
				drv := nix.instantiate("plan.nix", target)
				here, args = append(here, drv), append(args, drv)
				targets = append(targets, realiser.Target{Drv: parsePath(t, drv)})
			}
			s := openStore(t)
			if len(here) > 0 {
				nix.copyTo(s, here...)
			}
			want := nix.dryRun("file://"+dir, args...)
			plan, err := substituting(t, s, openCache(t, "file://"+dir, cache.Options{})).Plan(t.Context(), targets)
			if err != nil {
				t.Fatal(err)
			}
			if got := ours(plan); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				t.Errorf("\n%+v, Nix says\n%+v", got, want)
			}
		})
	}
}
