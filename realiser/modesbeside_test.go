package realiser_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
	"larder/store/local"
)

// exitStatus is Nix's for how a single target of a request ended.
func exitStatus(s result.Status) int {
	switch {
	case s.Success():
		return 0
	case s == result.PermanentFailure:
		return 100
	case s == result.NotDeterministic:
		return 104
	}
	return 1
}

// TestModesBesideNix has derivations checked, repeated and repaired by real Nix and by Larder, and compares how that ends and what
// is said.
func TestModesBesideNix(t *testing.T) {
	t.Parallel()
	n, box, s := newNixBeside(t), realSandbox(t), openStore(t)
	// The builder's user runs the diff hook, and must get there.
	dir, err := os.MkdirTemp("", "larder-hook-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	said := filepath.Join(dir, "said")
	hook := filepath.Join(dir, "hook")
	script := "#!/bin/sh\nkind() { test -d \"$1\" && echo dir || echo file; }\n" +
		"echo \"$# $(kind $1) ${1##*/} $(kind $2) ${2##*/} $3 $(kind $4) $PWD\" >> " + said + "; exit 1\n"
	if err := errors.Join(os.WriteFile(hook, []byte(script), 0o755), os.WriteFile(said, nil, 0o666), os.Chmod(said, 0o666)); err != nil {
		t.Fatal(err)
	}
	heard := func() string {
		t.Helper()
		text, err := os.ReadFile(said)
		if err := errors.Join(err, os.Truncate(said, 0)); err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	once := open(t, s, box, func(o *realiser.Options) { o.NoSubstitutes = true })
	twice := open(t, s, box, func(o *realiser.Options) { o.NoSubstitutes, o.Repeat = true, 1 })
	hooked := open(t, s, box, func(o *realiser.Options) { o.NoSubstitutes, o.DiffHook = true, hook })

	drvs := map[string]string{}
	for _, attr := range []string{"same", "changing", "ca-same", "ca-above", "ca-changing"} {
		drvs[attr] = n.instantiate("modes.nix", attr)
		n.copyTo(s, drvs[attr])
	}
	for _, step := range []struct {
		attr, args string
		realiser   *realiser.Realiser
		mode       realiser.Mode
		says       string // both of them
	}{
		{"same", "--check", once, realiser.ModeCheck, "are not valid, so checking is not possible"},
		{"same", "--option repeat 1", twice, realiser.ModeRealise, ""},
		{"same", "--check", once, realiser.ModeCheck, ""},
		{"changing", "--option repeat 1", twice, realiser.ModeRealise, "differs from previous round"},
		{"changing", "--option repeat 1 --check", once, realiser.ModeCheck, "are not valid, so checking is not possible"},
		{"changing", "", once, realiser.ModeRealise, ""},
		{"changing", "--check", once, realiser.ModeCheck, "may not be deterministic: output '"},
		{"changing", "--check --option run-diff-hook true --option diff-hook " + hook, hooked, realiser.ModeCheck, "may not be deterministic: output '"},
		{"ca-above", "--check", once, realiser.ModeCheck, "are not valid, so checking is not possible"},
		{"ca-above", "", once, realiser.ModeRealise, ""},
		{"ca-same", "--check", once, realiser.ModeCheck, ""},
		{"ca-above", "--check", once, realiser.ModeCheck, ""},
	} {
		args := append(append([]string{"-r"}, strings.Fields(step.args)...), drvs[step.attr])
		_, errs, err := n.run("nix-store", args...)
		status := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			status = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		nixHeard := heard()
		o, err := step.realiser.Build(t.Context(), store.Caller{}, realiser.Request{Mode: step.mode,
			Targets: []realiser.Target{{Drv: parsePath(t, drvs[step.attr])}}})
		if err != nil {
			t.Fatal(err)
		}
		res := o.Results[0]
		if step.says == "differs from previous round" && status == 1 {
			status = 104 // Nix has that for checks only, though it is the same failure
		}
		if got := exitStatus(res.Status); got != status {
			t.Errorf("%s %q: exit status %d (%v), Nix %d\n%s", step.attr, step.args, got, res.Err, status, errs)
		}
		if step.says != "" && (!strings.Contains(errs, step.says) || res.Err == nil || !strings.Contains(res.Err.Error(), step.says)) {
			t.Errorf("%s %q: Larder says %v\nNix says %s", step.attr, step.args, res.Err, errs)
		}
		if got := heard(); got != nixHeard {
			t.Errorf("%s %q: the diff hook says %q\nwith Nix it says %q", step.attr, step.args, got, nixHeard)
		}
	}
	removeKept(t, s.StateDir())

	// A floating output that comes out differently has another path, and Nix compares only what has the same.
	changing := parsePath(t, drvs["ca-changing"])
	for _, step := range []struct {
		mode realiser.Mode
		want result.Status
	}{{realiser.ModeRealise, result.Built}, {realiser.ModeCheck, result.NotDeterministic}} {
		o, err := once.Build(t.Context(), store.Caller{}, realiser.Request{Mode: step.mode, Targets: []realiser.Target{{Drv: changing}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := o.Results[0].Status; got != step.want {
			t.Errorf("a floating output that differs, %v: %v %v", step.mode, got, o.Err())
		}
	}
}

// removeKept removes what failed builds left beside the state directory.
func removeKept(t *testing.T, stateDir string) {
	t.Helper()
	kept, err := filepath.Glob(filepath.Join(filepath.Dir(stateDir), "build", "larder-failed-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range kept {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
}

// TestPostBuildHookBesideNix: the hook is run for what Nix runs it for, resolved derivations and those that they stand for.
func TestPostBuildHookBesideNix(t *testing.T) {
	t.Parallel()
	n, box, s := newNixBeside(t), realSandbox(t), openStore(t)
	said := filepath.Join(filepath.Dir(s.StateDir()), "said")
	hook := filepath.Join(filepath.Dir(s.StateDir()), "hook")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho $DRV_PATH: $OUT_PATHS >> "+said+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	heard := func() []string {
		t.Helper()
		text, err := os.ReadFile(said)
		if err := errors.Join(err, os.Remove(said)); err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	r := open(t, s, box, func(o *realiser.Options) { o.NoSubstitutes, o.PostBuildHook = true, hook })
	drv := n.instantiate("modes.nix", "ca-above")
	n.copyTo(s, drv)
	n.ok("nix-store", "-r", "--option", "post-build-hook", hook, drv)
	want := heard()
	if o, err := r.Build(t.Context(), store.Caller{}, realiser.Request{Targets: []realiser.Target{{Drv: parsePath(t, drv)}}}); err != nil || o.Err() != nil {
		t.Fatal(err, o.Err())
	}
	// Nix 2.8 has lost OUT_PATHS for floating outputs that were just built.
	got := heard()
	same := slices.EqualFunc(got, want, func(ours, nixs string) bool {
		drv, outputs, _ := strings.Cut(ours, ": ")
		return outputs != "" && strings.HasPrefix(nixs, drv+":")
	})
	if !same {
		t.Errorf("run for %q\nNix runs it for %q", got, want)
	}
}

// TestDiffHookIdentity: with build users the hook has the builder's ids, and can read both outputs.
func TestDiffHookIdentity(t *testing.T) {
	t.Parallel()
	n, box, s := newNixBeside(t), realSandbox(t), openStore(t)
	hook := filepath.Join(filepath.Dir(s.StateDir()), "hook")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\ncmp $1 $2 > /dev/null; test $? = 1 && ls -d $4 > /dev/null && echo \"user $(id -u) $(id -g)\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	users := buildUsers(t)
	r := open(t, s, box, func(o *realiser.Options) { o.NoSubstitutes, o.Users, o.DiffHook = true, users, hook })
	events := r.Subscribe(1000)
	drv := n.instantiate("modes.nix", "changing")
	n.copyTo(s, drv)
	for _, mode := range []realiser.Mode{realiser.ModeRealise, realiser.ModeCheck} {
		if _, err := r.Build(t.Context(), store.Caller{}, realiser.Request{Mode: mode, Targets: []realiser.Target{{Drv: parsePath(t, drv)}}}); err != nil {
			t.Fatal(err)
		}
	}
	events.Close()
	var said []string
	for ev := range events.Events() {
		if ev.Type == realiser.GoalMessage {
			said = append(said, ev.Message.Text)
		}
	}
	if len(said) != 1 || !strings.HasPrefix(said[0], "user ") || strings.HasPrefix(said[0], "user 0 ") {
		t.Errorf("the hook says %q", said)
	}
	removeKept(t, s.StateDir())
}

// TestKeepFailed: the build directory and the outputs of a build that failed become the caller's, in a sandbox with build users.
func TestKeepFailed(t *testing.T) {
	t.Parallel()
	n, box, s := newNixBeside(t), realSandbox(t), openStore(t)
	r := open(t, s, box, func(o *realiser.Options) { o.NoSubstitutes, o.Users = true, buildUsers(t) })
	drv := n.instantiate("modes.nix", "failing")
	n.copyTo(s, drv)
	o, err := r.Build(t.Context(), store.Caller{UID: 31003, GID: 31003}, realiser.Request{KeepFailed: true,
		Targets: []realiser.Target{{Drv: parsePath(t, drv)}}})
	if err != nil {
		t.Fatal(err)
	}
	var failure *result.BuildError
	if !errors.As(o.Err(), &failure) || failure.KeptDir == "" || failure.KeptOutputs == "" {
		t.Fatalf("%+v", o.Results[0])
	}
	read := exec.Command("cat", "left", filepath.Join(failure.KeptOutputs, onlyOutput(t, s, drv), "made"))
	read.Dir = failure.KeptDir
	read.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 31003, Gid: 31003}}
	if text, err := read.CombinedOutput(); err != nil || string(text) != "dir\nhalf\n" {
		t.Errorf("the caller reads %q, %v", text, err)
	}
	if _, err := os.Lstat(filepath.Join(s.ObjectDir(), onlyOutput(t, s, drv))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the output of a failed build is at its store path: %v", err)
	}
	removeKept(t, s.StateDir())
}

func onlyOutput(t *testing.T, s *local.Store, drv string) string {
	t.Helper()
	d, err := s.Derivation(t.Context(), parsePath(t, drv))
	if err != nil {
		t.Fatal(err)
	}
	return d.Outputs["out"].Path.String()
}
