package realiser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"larder/nar/tree"
	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

func TestEnvironment(t *testing.T) {
	l := newLab(t, func(o *Options) {
		o.Cores = 3
		o.Getenv = func(name string) (string, bool) { return "value of " + name, name == "proxy" }
	})
	var got *sandbox.Spec
	var passed []byte
	l.sandbox.build = func(_ context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		got = spec
		passed, _ = os.ReadFile(filepath.Join(spec.BuildDir, filepath.Base(specEnv(spec, "bigPath"))))
		return makeOutputs(spec)
	}
	drv, out := l.store.drv(t, "x", nil, func(d *derivation.Derivation) {
		d.Builder, d.Args = "/bin//sh", []string{"-c", derivation.Placeholder("out")}
		d.Env["HOME"], d.Env["TMPDIR"], d.Env["TERM"] = "/my", "/my", "dumb"
		d.Env["passAsFile"], d.Env["big"] = " big\tother ", "see "+derivation.Placeholder("out")
		d.Env["impureEnvVars"] = "proxy"
	})
	if res := l.build(t, false, drv)[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	name := store.DefaultDir.Join(out)
	for key, want := range map[string]string{
		"PATH": "/path-not-set", "HOME": "/my", "NIX_STORE": "/nix/store", "NIX_BUILD_CORES": "3", "NIX_BUILD_TOP": "/build",
		"TMPDIR": "/build", "TEMPDIR": "/build", "TMP": "/build", "TEMP": "/build", "PWD": "/build", "TERM": "xterm-256color",
		"NIX_LOG_FD": "2", "out": name, "big": "", "proxy": "", "NIX_OUTPUT_CHECKED": "",
	} {
		if v := specEnv(got, key); v != want {
			t.Errorf("%s is %q, want %q", key, v, want)
		}
	}
	if string(passed) != "see "+name || filepath.Dir(specEnv(got, "bigPath")) != "/build" {
		t.Errorf("passed as file: %q in %s", passed, specEnv(got, "bigPath"))
	}
	if got.Builder != "/bin/sh" || fmt.Sprint(got.Args) != "[sh -c "+name+"]" || got.Network || !slices.IsSorted(got.Env) {
		t.Errorf("the spec is %+v", got)
	}
}

func TestFixedOutputSeesTheNetwork(t *testing.T) {
	l := newLab(t, func(o *Options) {
		o.Getenv = func(name string) (string, bool) {
			if name != "proxy" {
				return "", false
			}
			return "value of proxy", true
		}
	})
	var got *sandbox.Spec
	l.sandbox.build = func(_ context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		got = spec
		return exit(1)
	}
	drv, _ := l.store.drv(t, "x", nil, func(d *derivation.Derivation) {
		d.Outputs["out"] = derivation.Output{CA: store.ContentAddress{Method: store.Flat, Hash: store.SHA256.Sum(nil)}}
		d.Env["impureEnvVars"] = "proxy unset"
	})
	if res := l.build(t, false, drv)[0]; res.Status != result.TransientFailure {
		t.Errorf("%v %v", res.Status, res.Err)
	}
	if !got.Network || specEnv(got, "proxy") != "value of proxy" || specEnv(got, "NIX_OUTPUT_CHECKED") != "1" || !slices.Contains(got.Env, "unset=") {
		t.Errorf("the spec is %+v", got)
	}
}

func TestMismatchIsKeptUnderItsTrueName(t *testing.T) {
	l := newLab(t, nil)
	l.sandbox.build = func(_ context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		return &sandbox.Result{}, os.WriteFile(filepath.Join(spec.BuildStore, filepath.Base(specEnv(spec, "out"))), []byte("new"), 0o444)
	}
	promise := func(text string) func(d *derivation.Derivation) {
		return func(d *derivation.Derivation) {
			d.Outputs["out"] = derivation.Output{CA: store.ContentAddress{Method: store.Flat, Hash: store.SHA256.Sum([]byte(text))}}
		}
	}
	wrong, _ := l.store.drv(t, "x", nil, promise("old"))
	right, out := l.store.drv(t, "x", nil, promise("new"))
	res := l.build(t, false, wrong)[0]
	var mismatch *result.HashMismatchError
	if !errors.As(res.Err, &mismatch) || res.Status != result.OutputRejected || mismatch.Got != store.SHA256.Sum([]byte("new")) {
		t.Fatalf("%v %v", res.Status, res.Err)
	}
	if res := l.build(t, false, right)[0]; res.Status != result.AlreadyValid || !l.store.isValid(out) {
		t.Errorf("%v %v", res.Status, res.Err)
	}
}

// Of outputs some of which are valid only the others are registered.
func TestOnlyMissingOutputsAreRegistered(t *testing.T) {
	l := newLab(t, nil)
	drv, out := l.store.drv(t, "x", nil, func(d *derivation.Derivation) { d.Outputs["dev"] = derivation.Output{} })
	dev := l.store.drvs[drv].Outputs["dev"].Path
	c := newFakeCache("cache", 1)
	c.add(t, out)
	l.sources.all = []Substituter{c}
	l.sandbox.build = func(_ context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		return &sandbox.Result{}, errors.Join(writeOutput(spec, "out"), writeOutput(spec, "dev"))
	}
	res := l.build(t, false, drv)[0]
	if res.Status != result.Built || l.store.registered(out) != 1 || l.store.registered(dev) != 1 {
		t.Errorf("%v %v: registered %d, %d times", res.Status, res.Err, l.store.registered(out), l.store.registered(dev))
	}
	if info := l.store.infos[dev]; info.Deriver != drv || !info.Ultimate || l.store.infos[out].Ultimate {
		t.Errorf("path info is %+v", info)
	}
}

func TestSecretKeysSign(t *testing.T) {
	key, err := store.GenerateKey("me", strings.NewReader(strings.Repeat("x", 64)))
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, func(o *Options) { o.SecretKeys = []store.SecretKey{key} })
	_, out := l.store.drv(t, "x", nil)
	if err := l.realise(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	if !l.store.infos[out].SignedBy(store.DefaultDir, store.NewKeyRing(key.Public())) {
		t.Error("not signed")
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		print  string // in a loop
		want   result.Status
	}{
		{"timeout", func(o *Options) { o.Timeout = 20 * time.Millisecond }, "x\n", result.TimedOut},
		{"silence", func(o *Options) { o.MaxSilent = 20 * time.Millisecond }, "", result.TimedOut},
		{"log", func(o *Options) { o.MaxLogSize = 1000 }, strings.Repeat("y", 99) + "\n", result.LogLimitExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, c.change)
			l.sandbox.build = func(ctx context.Context, _ string, _ *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
				for ctx.Err() == nil {
					if c.print != "" {
						io.WriteString(log, c.print)
					}
				}
				return nil, context.Cause(ctx)
			}
			drv, _ := l.store.drv(t, "x", nil)
			res := l.build(t, false, drv)[0]
			if res.Status != c.want {
				t.Fatalf("%v %v", res.Status, res.Err)
			}
			log, err := l.ReadLog(t.Context(), drv)
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			if text, err := io.ReadAll(log); err != nil || c.name == "log" && len(text) != 1000 {
				t.Errorf("%d bytes of log, %v", len(text), err)
			}
		})
	}
}

func TestLogLines(t *testing.T) {
	l := newLab(t, func(o *Options) { o.LogLines = 3 })
	l.sandbox.build = func(_ context.Context, _ string, _ *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
		for _, piece := range []string{"one\ntwo\nthr", "ee\n10%\r20%\r", "done\n\xff\xfe raw\nend"} {
			io.WriteString(log, piece)
		}
		return exit(7)
	}
	events := l.Subscribe(1000)
	drv, out := l.store.drv(t, "x", nil)
	res := l.build(t, false, drv)[0]
	var e *result.BuildError
	if !errors.As(res.Err, &e) || !slices.Equal(e.LastLines, []string{"done", "\uFFFD raw", "end"}) {
		t.Errorf("last lines are %q", e.LastLines)
	}
	if filepath.Base(filepath.Dir(e.LogPath)) != drv.String()[:2] {
		t.Errorf("the log lies at %s", e.LogPath)
	}
	for _, p := range []store.StorePath{drv, out} {
		log, err := l.ReadLog(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(log)
		if log.Close(); err != nil || string(text) != "one\ntwo\nthree\n10%\r20%\rdone\n\xff\xfe raw\nend" {
			t.Errorf("the log is %q, %v", text, err)
		}
	}
	if _, err := l.ReadLog(t.Context(), named(t, "other")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the log of something else: %v", err)
	}
	l.Close()
	var lines []string
	last := uint64(0)
	kinds := map[EventType]bool{}
	for ev := range events.Events() {
		if ev.Seq <= last || ev.Version != EventVersion {
			t.Errorf("event %+v after %d", ev, last)
		}
		last = ev.Seq
		kinds[ev.Type] = true
		if ev.Type == GoalLog {
			lines = append(lines, ev.Line)
		}
	}
	if !slices.Equal(lines, []string{"one", "two", "three", "done", "\uFFFD raw", "end"}) || len(kinds) < 5 {
		t.Errorf("lines %q, kinds of events %v", lines, kinds)
	}
}

func TestSlowSubscriberLosesEvents(t *testing.T) {
	l := newLab(t, nil)
	slow := l.Subscribe(1)
	_, out := l.store.drv(t, "x", nil)
	if err := l.realise(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	if slow.Dropped() == 0 {
		t.Error("nothing was dropped")
	}
	slow.Close()
	slow.Close()
}

func TestKeepFailed(t *testing.T) {
	l := newLab(t, func(o *Options) { o.KeepFailed = true })
	l.sandbox.build = func(_ context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		os.WriteFile(filepath.Join(spec.BuildDir, "trace"), nil, 0o644)
		return exit(1)
	}
	drv, _ := l.store.drv(t, "x", nil)
	var e *result.BuildError
	if !errors.As(l.build(t, false, drv)[0].Err, &e) {
		t.Fatal("it did not fail")
	}
	if _, err := os.Stat(filepath.Join(e.KeptDir, "trace")); err != nil {
		t.Error(err)
	}
	if err := tree.Remove(t.Context(), filepath.Dir(e.KeptDir)); err != nil {
		t.Error(err)
	}
}

func TestSetupErrors(t *testing.T) {
	for stage, want := range map[sandbox.Stage]result.Status{sandbox.StageExec: result.PermanentFailure, sandbox.StageInput: result.MiscFailure} {
		l := newLab(t, nil)
		l.sandbox.build = func(context.Context, string, *sandbox.Spec, io.Writer) (*sandbox.Result, error) {
			return nil, &sandbox.SetupError{Stage: stage, Op: "open", Path: "/x", Err: os.ErrNotExist}
		}
		drv, _ := l.store.drv(t, "x", nil)
		res := l.build(t, false, drv)[0]
		var setup *sandbox.SetupError
		if res.Status != want || !errors.As(res.Err, &setup) {
			t.Errorf("%s: %v %v", stage, res.Status, res.Err)
		}
	}
}

func TestRefusals(t *testing.T) {
	l := newLab(t, func(o *Options) { o.SystemFeatures = []string{"kvm", "benchmark"} })
	for says, change := range map[string]func(*derivation.Derivation){
		"must be a Boolean": func(d *derivation.Derivation) { d.Env["__json"] = `{"allowSubstitutes":1}` },
		"odd number of tokens in 'exportReferencesGraph'": func(d *derivation.Derivation) { d.Env["exportReferencesGraph"] = "a" },
		"__noChroot":              func(d *derivation.Derivation) { d.Env["__noChroot"] = "1" },
		"impure path '/etc'":      func(d *derivation.Derivation) { d.Env["__impureHostDeps"] = "/etc" },
		"but I am a 'x86_64-linu": func(d *derivation.Derivation) { d.System = "aarch64-linux" },
		"features {kvm, quantum} is required to build '": func(d *derivation.Derivation) { d.Env["requiredSystemFeatures"] = "quantum kvm" },
		"with features {benchmark, kvm}":                 func(d *derivation.Derivation) { d.Env["requiredSystemFeatures"] = "quantum" },
		"Builder \"sh\"":                                 func(d *derivation.Derivation) { d.Builder = "sh" },
	} {
		drv, _ := l.store.drv(t, "x", nil, change)
		res := l.build(t, false, drv)[0]
		if res.Status != result.InputRejected || !strings.Contains(res.Err.Error(), says) {
			t.Errorf("expected %q: %v %v", says, res.Status, res.Err)
		}
	}
	if n := l.sandbox.count("x"); n != 0 {
		t.Errorf("%d builders ran", n)
	}
}

// What a killed process left is removed by the next one; what is in use or was
// kept stays.
