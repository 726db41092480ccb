package builder

import (
	"errors"
	"strings"
	"testing"

	"larder/store"
	"larder/store/derivation"
)

func TestWhoIsIsolated(t *testing.T) {
	fixed := derivation.Output{CA: store.ContentAddress{Method: store.Flat, Hash: store.SHA256.Sum(nil)}}
	impure := derivation.Output{HashAlgo: store.SHA256, Method: store.Recursive, Impure: true}
	mounted, missing := store.Dir(t.TempDir()), store.Dir(t.TempDir()+"/missing")
	for _, c := range []struct {
		name     string
		mode     SandboxMode
		output   derivation.Output
		noChroot bool
		dir      store.Dir
		want     bool
	}{
		{"true", SandboxAlways, derivation.Output{}, false, mounted, true},
		{"true, with network", SandboxAlways, fixed, false, mounted, true},
		{"relaxed", SandboxRelaxed, derivation.Output{}, false, mounted, true},
		{"relaxed, asked for", SandboxRelaxed, derivation.Output{}, true, mounted, false},
		{"relaxed, fixed output", SandboxRelaxed, fixed, false, mounted, false},
		{"relaxed, impure", SandboxRelaxed, impure, false, mounted, false},
		{"false", SandboxNever, derivation.Output{}, false, mounted, false},
		{"false, store not mounted", SandboxNever, derivation.Output{}, false, missing, true},
		{"relaxed, store not mounted", SandboxRelaxed, fixed, true, missing, true},
	} {
		b := &Builder{opt: Options{SandboxMode: c.mode}, dir: c.dir}
		drv := &derivation.Derivation{Outputs: map[string]derivation.Output{"out": c.output}}
		if got := b.chroot(drv, &derivation.Options{NoChroot: c.noChroot}); got != c.want {
			t.Errorf("sandbox = %s: %v", c.name, got)
		}
	}
}

func TestImpureHostDeps(t *testing.T) {
	drv := &derivation.Derivation{Outputs: map[string]derivation.Output{"out": {}}}
	for _, c := range []struct {
		allowed, path string
		want          bool
	}{
		{"/usr/lib", "/usr/lib", true},
		{"/usr/lib/", "/usr/lib/x/y", true},
		{"/usr/lib", "/usr//lib/./x", true},
		{"/usr/lib", "/usr/library", false},
		{"/usr/lib", "/usr/lib/../bin", false},
		{"/usr/lib", "usr/lib", false},
		{"/usr/lib", "", false},
		{"/", "/anything", true},
		{"", "/x", false},
	} {
		b := &Builder{opt: Options{AllowedImpureHostDeps: strings.Fields(c.allowed)}}
		err := b.Refuse(drv, &derivation.Options{ImpureHostDeps: []string{c.path}}, "x")
		if (err == nil) != c.want {
			t.Errorf("%q, allowed is %q: %v", c.path, c.allowed, err)
		}
		if want := "derivation 'x' requested impure path '" + c.path + "', but it was not in allowed-impure-host-deps"; err != nil && err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	// Who has the files of the host need not ask for them.
	b := &Builder{opt: Options{SandboxMode: SandboxNever}, dir: store.Dir(t.TempDir())}
	if err := b.Refuse(drv, &derivation.Options{NoChroot: true, ImpureHostDeps: []string{"/x"}}, "x"); err != nil {
		t.Error(err)
	}
	b = &Builder{}
	err := b.Refuse(drv, &derivation.Options{NoChroot: true}, "x")
	if err == nil || err.Error() != "derivation 'x' has '__noChroot' set, but that's not allowed when 'sandbox' is 'true'" {
		t.Error(err)
	}
}

func TestHome(t *testing.T) {
	t.Parallel()
	exists := t.TempDir()
	for _, c := range []struct {
		noChroot bool
		home     string
		refused  bool
	}{{true, exists, true}, {false, exists, false}, {true, exists + "/missing", false}} {
		err := (&build{noChroot: c.noChroot}).checkHome(c.home)
		if refused := (refusal{}); errors.As(err, &refused) != c.refused || err != nil && !strings.Contains(err.Error(), "'"+exists+"' exists; please remove it") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
