package realiser_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"larder/nar/tree"
	"larder/realiser"
	"larder/realiser/builder"
	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
	"larder/store/local"
)

// everyIdentity runs a test with builders that are build users, and once more as
// a user without privileges.
func everyIdentity(t *testing.T, test func(t *testing.T, users func(*realiser.Options))) {
	if os.Geteuid() != 0 {
		test(t, func(*realiser.Options) {})
		return
	}
	t.Run("build users", func(t *testing.T) {
		test(t, func(o *realiser.Options) { o.Users = buildUsers(t) })
	})
	t.Run("user", func(t *testing.T) {
		const user = 30004
		tmp, err := os.MkdirTemp("", "larder-realiser-user-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := tree.Remove(context.Background(), tmp); err != nil {
				t.Error(err)
			}
		})
		if err := os.Chown(tmp, user, user); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(t.Name(), "/user")
		out, err := asUser(user, tmp, "/proc/self/exe", "-test.run=^"+name+"$", "-test.v", "-test.timeout=60s")
		switch {
		case err != nil:
			t.Errorf("%v\n%s", err, out)
		case strings.Contains(out, "--- SKIP"):
			t.Skipf("as user %d: %s", user, out)
		case !strings.Contains(out, "--- PASS: "+name):
			t.Errorf("nothing was tested:\n%s", out)
		}
	})
}

// lookout is a store whose directory is there, as that of a mounted one, and its builds.
type lookout struct {
	t   *testing.T
	s   *local.Store
	box builder.Sandbox
	top string // a directory that everybody may enter
}

func newLookout(t *testing.T) *lookout {
	t.Helper()
	l := &lookout{t: t, box: realSandbox(t)}
	l.s = openStoreOf(t, func(base string) store.Dir {
		l.top = filepath.Join(base, "top")
		dir := filepath.Join(l.top, "store")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return store.Dir(dir)
	})
	return l
}

// file makes a file below l.top, of that mode.
func (l *lookout) file(name, text string, mode os.FileMode) string {
	l.t.Helper()
	p := filepath.Join(l.top, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), mode), os.Chmod(p, mode)); err != nil {
		l.t.Fatal(err)
	}
	return p
}

var scripts atomic.Int64

// script registers a derivation whose builder is a shell script. Variables are name, value, …
func (l *lookout) script(text string, change func(*derivation.Derivation)) (drv, out store.StorePath) {
	l.t.Helper()
	d := &derivation.Derivation{Name: fmt.Sprint("script-", scripts.Add(1)), System: "x86_64-linux", Builder: busybox, Args: []string{"sh", "-ec", text},
		Outputs: map[string]derivation.Output{"out": {}}, Env: map[string]string{}}
	if change != nil {
		change(d)
	}
	return addDrv(l.t, l.s, d), d.Outputs["out"].Path
}

func (l *lookout) realiser(changes ...func(*realiser.Options)) *realiser.Realiser {
	return open(l.t, l.s, l.box, func(o *realiser.Options) {
		for _, c := range changes {
			c(o)
		}
	})
}

// read builds a script and returns what it wrote to its output.
func (l *lookout) read(r *realiser.Realiser, text string, change func(*derivation.Derivation)) string {
	l.t.Helper()
	drv, out := l.script(text, change)
	if res := realise(l.t, r, drv); res.Err != nil {
		var e *result.BuildError
		errors.As(res.Err, &e)
		l.t.Errorf("%v: %v\n%s", res.Status, res.Err, strings.Join(e.LastLines, "\n"))
		return ""
	}
	content, err := os.ReadFile(l.s.ObjectPath(out))
	if err != nil {
		l.t.Error(err)
	}
	return string(content)
}

func withNoChroot(d *derivation.Derivation) { d.Env["__noChroot"] = "1" }

func withFixedOutput(text string) func(d *derivation.Derivation) {
	return func(d *derivation.Derivation) {
		d.Outputs["out"] = derivation.Output{CA: store.ContentAddress{Method: store.Flat, Hash: store.SHA256.Sum([]byte(text))}}
	}
}

func mode(m builder.SandboxMode) func(*realiser.Options) {
	return func(o *realiser.Options) { o.SandboxMode = m }
}

func TestSandboxModes(t *testing.T) {
	t.Parallel()
	everyIdentity(t, func(t *testing.T, users func(*realiser.Options)) {
		l := newLookout(t)
		marker := l.file("marker", "", 0o644)
		where := "if [ -e " + marker + " ]; then echo outside; else echo inside; fi > $out; [ $NIX_BUILD_TOP = $PWD ]; : > $TMPDIR/x; [ -e x ]"
		always, relaxed, never := l.realiser(users), l.realiser(users, mode(builder.SandboxRelaxed)), l.realiser(users, mode(builder.SandboxNever))
		for _, c := range []struct {
			name   string
			r      *realiser.Realiser
			change func(*derivation.Derivation)
			want   string
		}{
			{"true", always, nil, "inside\n"},
			{"true, fixed output", always, withFixedOutput("inside\n"), "inside\n"},
			{"relaxed", relaxed, nil, "inside\n"},
			{"relaxed, __noChroot", relaxed, withNoChroot, "outside\n"},
			{"relaxed, fixed output", relaxed, withFixedOutput("outside\n"), "outside\n"},
			{"false", never, nil, "outside\n"},
			{"false, __noChroot", never, withNoChroot, "outside\n"},
		} {
			if got := l.read(c.r, where, c.change); got != c.want {
				t.Errorf("sandbox = %s: it is %q", c.name, got)
			}
		}
		drv, _ := l.script(where, withNoChroot)
		if res := realise(t, always, drv); res.Status != result.InputRejected ||
			!strings.HasSuffix(res.Err.Error(), "has '__noChroot' set, but that's not allowed when 'sandbox' is 'true'") {
			t.Errorf("%v %v", res.Status, res.Err)
		}
	})
}

// Whatever a builder starts dies with it, wherever it hides.
func TestNothingOutlivesABuild(t *testing.T) {
	t.Parallel()
	everyIdentity(t, func(t *testing.T, users func(*realiser.Options)) {
		l := newLookout(t)
		for name, m := range map[string]builder.SandboxMode{"true": builder.SandboxAlways, "false": builder.SandboxNever} {
			r := l.realiser(users, mode(m))
			for end, last := range map[string]string{"success": "echo > $out", "failure": "exit 3"} {
				marker := fmt.Sprintf("%d.%d", 1_000_000+os.Getpid(), scripts.Add(1))
				// A path, because the shell would run its own sleep under its own name.
				sleep := busybox + " sleep " + marker
				drv, _ := l.script(`
					`+sleep+` > /dev/null 2>&1 &
					setsid `+sleep+` > /dev/null 2>&1 &
					(setsid sh -c "trap '' HUP TERM INT; `+sleep+` & `+sleep+`" > /dev/null 2>&1 &)
					(setsid setsid `+sleep+` < /dev/null > /dev/null 2>&1 &)
					until [ $(ps -o args | grep -c "^`+sleep+`") = 5 ]; do sleep 0.01; done
					`+last, nil)
				if res := realise(t, r, drv); res.Status != map[string]result.Status{"success": result.Built, "failure": result.PermanentFailure}[end] {
					var e *result.BuildError
					errors.As(res.Err, &e)
					t.Errorf("sandbox = %s, %s: %v %v", name, end, res.Err, e)
				}
				if left := running(marker); len(left) > 0 {
					t.Errorf("sandbox = %s, %s: processes %v are left", name, end, left)
				}
			}
		}
	})
}

// running finds the processes of the machine that have an argument.
func running(arg string) (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		text, _ := os.ReadFile(f)
		if slices.Contains(strings.Split(string(text), "\x00"), arg) {
			pids = append(pids, filepath.Base(filepath.Dir(f)))
		}
	}
	return pids
}

func TestSandboxPaths(t *testing.T) {
	t.Parallel()
	everyIdentity(t, func(t *testing.T, users func(*realiser.Options)) {
		l := newLookout(t)
		plain := l.realiser(users)
		// A tool in the store, which refers to something else.
		depDrv, dep := l.script("echo dep > $out", nil)
		toolDrv, tool := l.script("mkdir $out; echo tool > $out/file; ln -s "+l.s.Dir().Join(dep)+" $out/dep", func(d *derivation.Derivation) {
			d.InputDrvs = map[store.StorePath][]string{depDrv: {"out"}}
		})
		if res := realise(t, plain, toolDrv); res.Err != nil {
			t.Fatal(res.Err)
		}
		cache := filepath.Join(l.top, "cache")
		if err := errors.Join(os.Mkdir(cache, 0o777), os.Chmod(cache, 0o777)); err != nil {
			t.Fatal(err)
		}
		_, never := l.script("exit 9", nil)
		r := l.realiser(users, func(o *realiser.Options) {
			o.SandboxPaths = append(o.SandboxPaths,
				sandbox.Mount{Source: l.s.Dir().Join(tool) + "/file", Target: "/tool"},
				sandbox.Mount{Source: cache, Target: "/var/cache"},
				sandbox.Mount{Source: l.file("file", "text", 0o666), Target: "/file"},
				sandbox.Mount{Source: "/does/not/exist", Target: "/missing", Optional: true},
				sandbox.Mount{Source: l.s.Dir().Join(never), Target: "/never", Optional: true},
				sandbox.Mount{Source: "/proc", Target: "/proc"},
			)
		})
		dir := string(l.s.Dir())
		got := l.read(r, `
			cat /tool /file > $out; cat `+dir+`/*/dep >> $out
			echo new > /var/cache/new; ! (echo > /file) 2> /dev/null
			[ ! -e /missing -a ! -e /never ]; [ $$ = 1 -a -e /proc/1 ]`, nil)
		if got != "tool\ntextdep\n" {
			t.Errorf("it saw %q", got)
		}
		if text, err := os.ReadFile(filepath.Join(cache, "new")); err != nil || string(text) != "new\n" {
			t.Errorf("what it wrote: %q %v", text, err)
		}
		for source, want := range map[string]string{
			l.s.Dir().Join(never): "can't be shown to builders before it is realised",
			"/does/not/exist":     "'sandbox-paths': '/does/not/exist' does not exist",
		} {
			r := l.realiser(users, func(o *realiser.Options) {
				o.SandboxPaths = append(o.SandboxPaths, sandbox.Mount{Source: source, Target: "/x"})
			})
			drv, _ := l.script("echo > $out", nil)
			if res := realise(t, r, drv); res.Status != result.MiscFailure || !strings.Contains(res.Err.Error(), want) {
				t.Errorf("%s: %v %v", source, res.Status, res.Err)
			}
		}
	})
}

// An output that is built does not hide behind what the settings need.
func TestRebuildOfASandboxPath(t *testing.T) {
	t.Parallel()
	l := newLookout(t)
	drv, out := l.script("mkdir $out; echo 1 > $out/file; mkdir $dev", func(d *derivation.Derivation) { d.Outputs["dev"] = derivation.Output{} })
	if res := realise(t, l.realiser(), drv); res.Err != nil {
		t.Fatal(res.Err)
	}
	d, err := l.s.Derivation(t.Context(), drv)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.s.Delete(t.Context(), d.Outputs["dev"].Path); err != nil {
		t.Fatal(err)
	}
	r := l.realiser(func(o *realiser.Options) {
		o.SandboxPaths = append(o.SandboxPaths, sandbox.Mount{Source: l.s.Dir().Join(out) + "/file", Target: "/file"})
	})
	if res := realise(t, r, drv); res.Status != result.Built {
		t.Errorf("%v %v", res.Status, res.Err)
	}
}

func TestImpureHostDeps(t *testing.T) {
	t.Parallel()
	everyIdentity(t, func(t *testing.T, users func(*realiser.Options)) {
		l := newLookout(t)
		file := l.file("host/lib/file", "impure", 0o644)
		r := l.realiser(users, func(o *realiser.Options) { o.AllowedImpureHostDeps = []string{filepath.Join(l.top, "host")} })
		asks := func(paths ...string) func(*derivation.Derivation) {
			return func(d *derivation.Derivation) { d.Env["__impureHostDeps"] = strings.Join(paths, " ") }
		}
		if got := l.read(r, "cat "+file+" > $out; ! (echo > "+file+") 2> /dev/null", asks(file, l.top+"/host/missing")); got != "impure" {
			t.Errorf("it saw %q", got)
		}
		if got := l.read(r, "[ -e "+file+" ] || echo none > $out", nil); got != "none\n" {
			t.Errorf("without asking it saw %q", got)
		}
		secret := l.file("secret", "", 0o644)
		for _, p := range []string{secret, l.top + "/host/../secret", l.top, "/etc/shadow"} {
			drv, _ := l.script("echo > $out", asks(file, p))
			if res := realise(t, r, drv); res.Status != result.InputRejected ||
				!strings.HasSuffix(res.Err.Error(), "requested impure path '"+p+"', but it was not in allowed-impure-host-deps") {
				t.Errorf("%s: %v %v", p, res.Status, res.Err)
			}
		}
	})
}

func TestPreBuildHook(t *testing.T) {
	t.Parallel()
	everyIdentity(t, func(t *testing.T, users func(*realiser.Options)) {
		l := newLookout(t)
		file := l.file("extra", "extra", 0o644)
		record := filepath.Join(l.top, "record")
		hook := func(script string) func(*realiser.Options) {
			p := l.file(fmt.Sprint("hook-", scripts.Add(1)), "#!/bin/busybox sh\n"+script, 0o755)
			return func(o *realiser.Options) { o.PreBuildHook = p }
		}
		good := hook(`echo $# $1 > ` + record + `; [ $# = 1 ] || [ "$(ls $2 | xargs)" = "build tmp" ] || exit 9; echo to-stderr >&2; printf 'extra-sandbox-paths\n/in=` + file + `\n` + file + `\n\n'`)
		if got := l.read(l.realiser(users, good), "cat /in "+file+" > $out", nil); got != "extraextra" {
			t.Errorf("it saw %q", got)
		}
		drv, _ := l.script("echo > $out", nil)
		if res := realise(t, l.realiser(users, good), drv); res.Err != nil {
			t.Error(res.Err)
		}
		if text, err := os.ReadFile(record); err != nil || string(text) != "2 "+l.s.Dir().Join(drv)+"\n" {
			t.Errorf("the hook got %q, %v", text, err)
		}
		drv, _ = l.script("echo > $out", nil)
		if res := realise(t, l.realiser(users, good, mode(builder.SandboxNever)), drv); res.Err != nil {
			t.Error(res.Err)
		}
		if text, err := os.ReadFile(record); err != nil || string(text) != "1 "+l.s.Dir().Join(drv)+"\n" {
			t.Errorf("without a sandbox the hook got %q, %v", text, err)
		}
		for _, c := range []struct {
			hook   func(*realiser.Options)
			status result.Status
			says   string
		}{
			{hook("echo nonsense"), result.MiscFailure, "unknown pre-build hook command 'nonsense'"},
			{hook("exit 7"), result.MiscFailure, "failed with exit code 7"},
			{hook("sleep 1000 & sleep 1000"), result.TimedOut, "timed out after 100ms"},
			{hook("printf 'extra-sandbox-paths\n/does/not/exist\n\n'"), result.MiscFailure, "/does/not/exist: no such file"},
		} {
			r := l.realiser(users, c.hook, func(o *realiser.Options) {
				if c.status == result.TimedOut {
					o.Timeout = 100 * time.Millisecond
				}
			})
			drv, _ := l.script("echo > $out", nil)
			if res := realise(t, r, drv); res.Status != c.status || !strings.Contains(res.Err.Error(), c.says) {
				t.Errorf("want %s: %v %v", c.says, res.Status, res.Err)
			}
		}
	})
}

// /dev/kvm is there if the machine has it and the feature is offered.
func TestKVM(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/kvm"); err != nil {
		t.Skipf("no virtual machines here: %v", err)
	}
	l := newLookout(t)
	const has = "[ -c /dev/kvm ] && echo yes > $out || echo no > $out"
	offer := func(o *realiser.Options) { o.SystemFeatures = append(o.SystemFeatures, "kvm") }
	if got := l.read(l.realiser(offer), has+"; exec 3<> /dev/kvm", func(d *derivation.Derivation) {
		d.Env["requiredSystemFeatures"] = "kvm"
	}); got != "yes\n" && os.Geteuid() == 0 {
		t.Errorf("with the feature: %q", got)
	}
	if got := l.read(l.realiser(), has, nil); got != "no\n" {
		t.Errorf("without the feature: %q", got)
	}
}
