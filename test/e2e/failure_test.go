package e2e_test

import (
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"larder/test/harness"
)

const unknown = "/0123456789abcdfghijklmnpqrsvwxyz-unknown"

// A build that fails is EIO for the program, and larder explains.
func TestFailingBuild(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	s.Configure(nil)
	s.Mount()
	all := s.Derive(harness.Recipe{Name: "broken", Script: "echo I am trying; echo this cannot work >&2; exit 3"})
	broken := all[0]
	needs := s.Derive(harness.Recipe{Name: "needs-it", Script: "echo never > $out", Inputs: all})[0]
	for _, op := range withoutGuesses("stat", "lstat", "read", "exec", "readdir", "access", "chdir", "opath", "readlink") {
		if got := s.Touch(op, broken.Out).Wait(); got.Out != "EIO" {
			t.Errorf("%s: got %q", op, got.Out)
		}
	}
	if got := s.Touch("read", needs.Out).Wait(); got.Out != "EIO" {
		t.Errorf("what needs it: got %q", got.Out)
	}
	if n := s.Status().Realiser.Counts.Builds.Failed; n != 1 {
		t.Errorf("%d builds failed: a failure must be remembered for a moment", n)
	}

	contains(t, "larder why", s.Must("why", broken.Out), broken.Out+" is failed", "PermanentFailure", "exit code 3", "> I am trying",
		"> this cannot work", "larder log "+broken.Drv)
	contains(t, "larder why, of what needs it", s.Must("why", needs.Out), needs.Out+" is failed", filepath.Base(broken.Drv))
	var why struct {
		Path, State string
		Failure     struct {
			Drv, Status, Error, LogPath string
			LastLines                   []string
		}
		Derivers []string
	}
	decode(t, s.Must("--json", "why", broken.Out), &why)
	if why.State != "failed" || why.Failure.Status != "PermanentFailure" || why.Failure.Drv != filepath.Base(broken.Drv) ||
		strings.Join(why.Failure.LastLines, "|") != "I am trying|this cannot work" || len(why.Derivers) != 1 {
		t.Errorf("larder why --json: %+v", why)
	}
	for _, arg := range []string{broken.Drv, broken.Out, filepath.Base(broken.Drv)} {
		if got := s.Must("log", arg); got != "I am trying\nthis cannot work" {
			t.Errorf("larder log %s: %q", arg, got)
		}
	}
	if r := s.Larder("realise", broken.Drv); r.Status != 100 {
		t.Errorf("larder realise: %+v", r)
	} else {
		contains(t, "larder realise", r.Err, "exit code 3", "> this cannot work", "larder log "+broken.Drv)
	}
	if got := s.List(); len(got) != 2 {
		t.Errorf("ls shows %v, not only the derivations", got)
	}
	s.Unmount()
}

// What nobody has is ENOENT; where a cache could not be asked, nobody knows, and that is EIO.
func TestUnknownIsNotDown(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	up := s.NewCache(10)
	s.Configure([]*harness.Cache{up})
	s.Mount()
	for _, op := range withoutGuesses("stat", "read", "exec", "readdir", "chdir", "readlink") {
		if got := s.Touch(op, s.Dir+unknown).Wait(); got.Out != "ENOENT" {
			t.Errorf("%s of an unknown path: got %q", op, got.Out)
		}
	}
	contains(t, "larder why", s.Must("why", s.Dir+unknown), "is unknown", up.URL+" does not have it")
	// It can come to be known.
	o := up.Add("later", helloTree)
	if got := s.Read(o.Path + "/text"); got != "ok inside" {
		t.Errorf("what was added to the cache: %q", got)
	}
	s.Unmount()

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := &harness.Cache{URL: "http://" + l.Addr().String(), Key: up.Key}
	l.Close()
	s.Configure([]*harness.Cache{down, up})
	s.Mount()
	for _, op := range withoutGuesses("stat", "read", "exec", "readdir") {
		if got := s.Touch(op, s.Dir+unknown).Wait(); got.Out != "EIO" {
			t.Errorf("%s while a cache is down: got %q", op, got.Out)
		}
	}
	contains(t, "larder why", s.Must("why", s.Dir+unknown), "is failed", down.URL, "connection refused")
	// A cache that is down is no reason not to ask the next one.
	o = up.Add("elsewhere", helloTree)
	if got := s.Read(o.Path + "/text"); got != "ok inside" {
		t.Errorf("what the other cache has: %q", got)
	}
	s.Unmount()
}

func contains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s does not say %q:\n%s", what, p, text)
		}
	}
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Errorf("%v in %q", err, text)
	}
}
