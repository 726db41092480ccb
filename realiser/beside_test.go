package realiser_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"larder/nar"
	"larder/nar/tree"
	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
	"larder/store/local"
	"larder/test/fixture"
)

// nixBeside is real Nix with a store of its own, in which it builds the same
// derivations as Larder.
type nixBeside struct {
	t   *testing.T
	dir string
}

// newNixBeside is skipped where Nix is not installed or can't build.
func newNixBeside(t *testing.T) *nixBeside {
	t.Helper()
	if _, err := exec.LookPath("nix-store"); err != nil {
		t.Skipf("real Nix is not installed: %v", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("real Nix builds in a sandbox only as root")
	}
	dir, err := os.MkdirTemp("", "larder-nix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Remove(context.Background(), dir); err != nil {
			t.Error(err)
		}
	})
	return &nixBeside{t, dir}
}

// sameUnderRace skips a long comparison in runs that look for races and deadlocks: other tests build the same way.
func sameUnderRace(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("what Nix makes is compared in the run without -short")
	}
}

// nixSettings are those under which the fixtures were made.
const nixSettings = `sandbox = true
sandbox-paths = /bin/sh=/bin/busybox /bin/busybox=/bin/busybox
build-users-group =
substituters =
cores = 2
system-features = benchmark big-parallel nixos-test
experimental-features = nix-command ca-derivations impure-derivations`

// run runs a program of Nix on its store, and returns what it printed.
func (n *nixBeside) run(program string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(n.t.Context(), program, append([]string{"--store", n.dir}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+n.dir, "NIX_CONF_DIR="+n.dir, "NIX_CONFIG="+nixSettings, "BESIDE=the daemon's", "TERM=daemon",
		"TEMP=elsewhere", "NIX_LOG_FD=9")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func (n *nixBeside) ok(program string, args ...string) string {
	n.t.Helper()
	out, errs, err := n.run(program, args...)
	if err != nil {
		n.t.Fatalf("%s %q: %v\n%s", program, args, err, errs)
	}
	return out
}

// nixInfo is what Nix says of a path.
type nixInfo struct {
	Path, NarHash, Ca string
	NarSize           uint64
	References        []string
}

func (n *nixBeside) infos(paths ...string) (infos []nixInfo) {
	n.t.Helper()
	drvs := []string{"path-info", "--json", "--derivation"} // without that, it means the outputs
	others := []string{"path-info", "--json"}
	for _, p := range paths {
		if strings.HasSuffix(p, ".drv") {
			drvs = append(drvs, p)
		} else {
			others = append(others, p)
		}
	}
	for _, args := range [][]string{drvs, others} {
		if !strings.HasPrefix(args[len(args)-1], "/") {
			continue
		}
		var some []nixInfo
		if err := json.Unmarshal([]byte(n.ok("nix", args...)), &some); err != nil {
			n.t.Fatal(err)
		}
		infos = append(infos, some...)
	}
	return infos
}

// copyTo adds the closures of paths to a store of Larder.
func (n *nixBeside) copyTo(s *local.Store, paths ...string) {
	n.t.Helper()
	closure := strings.Fields(n.ok("nix-store", append([]string{"-qR"}, paths...)...))
	infos := map[string]nixInfo{}
	for _, info := range n.infos(closure...) {
		infos[info.Path] = info
	}
	for _, path := range closure { // references first
		about := infos[path]
		info := &store.PathInfo{Path: parsePath(n.t, path), NarSize: about.NarSize, References: parsePaths(n.t, about.References)}
		var err error
		if info.NarHash, err = store.ParseHash(about.NarHash, store.SHA256); err == nil {
			info.CA, err = store.ParseContentAddress(about.Ca)
		}
		if err != nil {
			n.t.Fatal(err)
		}
		r, w := io.Pipe()
		go func() {
			_, err := nar.Dump(n.t.Context(), w, filepath.Join(n.dir, path))
			w.CloseWithError(err)
		}()
		err = s.AddNAR(n.t.Context(), info, r)
		if r.Close(); err != nil {
			n.t.Fatal(err)
		}
	}
}

// instantiate evaluates an attribute of a file of test/testdata/beside.
func (n *nixBeside) instantiate(file, attr string) (drv string) {
	n.t.Helper()
	return strings.TrimSpace(n.ok("nix-instantiate", fixture.Path(n.t, "beside/"+file), "-A", attr))
}

// compare builds an attribute with both. They must make the same outputs, or fail
// with the same words.
func (n *nixBeside) compare(t *testing.T, r *realiser.Realiser, s *local.Store, file, attr, says string) {
	n = &nixBeside{t, n.dir}
	drv := n.instantiate(file, attr)
	n.copyTo(s, drv)
	out, errs, err := n.run("nix-store", "-r", drv)
	outcome, buildErr := r.Build(t.Context(), store.Caller{}, realiser.Request{Targets: []realiser.Target{{Drv: parsePath(t, drv)}}})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	res := outcome.Results[0]
	if says != "" {
		checkWords(t, says, errs, err, res.Err)
		return
	}
	if err != nil || res.Err != nil {
		t.Fatalf("Nix: %v\n%s\nLarder: %v", err, errs, res.Err)
	}
	if res.Status != result.Built {
		t.Errorf("the status is %v", res.Status)
	}
	n.checkInfos(t, s, strings.Fields(out)...)
}

// checkWords looks for the same words in what both say of a failure.
func checkWords(t *testing.T, says, nixSays string, nixErr, err error) {
	t.Helper()
	if nixErr == nil || !strings.Contains(nixSays, says) {
		t.Errorf("Nix says %v: %s\nnot %s", nixErr, nixSays, says)
	}
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("Larder says %v\nnot %s", err, says)
	}
	if _, got, ok := strings.Cut(nixSays, " got:"); ok { // what was made is the same at least
		if got = strings.Fields(got)[0]; err == nil || !strings.Contains(err.Error(), got) {
			t.Errorf("Larder says %v, Nix has got %s", err, got)
		}
	}
}

// checkInfos compares what both say of paths that both have made.
func (n *nixBeside) checkInfos(t *testing.T, s *local.Store, paths ...string) {
	t.Helper()
	for _, want := range n.infos(paths...) {
		got, err := s.PathInfo(t.Context(), parsePath(t, want.Path))
		if err != nil {
			t.Fatal(err)
		}
		if got.NarHash.Text(store.SRI) != want.NarHash || got.NarSize != want.NarSize ||
			!slices.Equal(store.SortPaths(got.References), parsePaths(t, want.References)) || got.CA.String() != want.Ca {
			diff, _ := exec.Command("diff", "-r", filepath.Join(n.dir, want.Path), s.ObjectPath(got.Path)).Output()
			t.Errorf("%s is %+v\nwant %+v\n%s", want.Path, got, want, diff)
		}
	}
}

// TestSeesWhatNixShows builds derivations whose outputs are what their builders
// see, with real Nix and with Larder.
func TestSeesWhatNixShows(t *testing.T) {
	sameUnderRace(t)
	t.Parallel()
	n, box, s := newNixBeside(t), realSandbox(t), openStore(t)
	environment := map[string]string{"BESIDE": "the daemon's", "TERM": "daemon", "TEMP": "elsewhere", "NIX_LOG_FD": "9"}
	r := open(t, s, box, func(o *realiser.Options) {
		o.Getenv = func(name string) (string, bool) { v, ok := environment[name]; return v, ok }
	})
	for _, c := range []struct{ attr, fails string }{
		{"graph-outputs", ""},
		{"graph-of-derivation", ""},
		{"graph-of-derivation-alone", "is not valid"},
		{"graph-below", ""},
		{"graph-same-name", ""},
		{"graph-nothing", ""},
		{"graph-odd", "odd number of tokens in 'exportReferencesGraph': 'graph /nix/store/"},
		{"graph-file-name", "invalid file name "},
		{"graph-dot-name", "invalid file name "},
		{"graph-no-store-path", "'exportReferencesGraph' contains a non-store path '/etc/passwd'"},
		{"graph-own-output", "'exportReferencesGraph' contains a non-store path '/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9'"},
		{"graph-no-input", "because it is not in the input closure of the derivation"},
		{"structured-graph", ""},
		{"structured-graph-of-derivation", ""},
		{"structured-graph-no-input", "because it is not in the input closure of the derivation"},
		{"structured-graph-number", "must be "},
		{"structured-list-is-no-graph", ""},
		{"structured-boolean", "must be a Boolean"},
		{"structured-list", "must be a list of strings"},
		{"structured-list-of-numbers", "must be a list of strings"},
		{"environment", ""},
		{"environment-fixed", "hash mismatch"},
		{"environment-structured", ""},
	} {
		t.Run(c.attr, func(t *testing.T) { n.compare(t, r, s, "sees.nix", c.attr, c.fails) })
	}
}
