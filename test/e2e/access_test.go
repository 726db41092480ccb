package e2e_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"larder/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const hello = "#!/bin/sh\necho hello\n"

// makeHello is a builder that makes what helloTree is.
const makeHello = `mkdir -p $out/bin; printf '#!/bin/sh\necho hello\n' > $out/bin/hello; chmod 755 $out/bin/hello; printf inside > $out/text
`

var helloTree = harness.Tree{"bin/hello": hello, "text": "inside"}

// accesses are all the ways to touch a path, and what is seen of helloTree.
var accesses = []struct{ op, below, want string }{
	{"stat", "", "ok 40555"},
	{"lstat", "", "ok 40555"},
	{"statx", "", "ok 40555"},
	{"read", "/text", "ok inside"},
	{"exec", "/bin/hello", "hello"},
	{"readdir", "", "ok bin text"},
	{"access", "", "ok"},
	{"chdir", "", "ok"},
	{"readlink", "", "EINVAL"},
	{"realpath", "/bin", ""},
	{"opath", "", "ok 40555"},
}

// withoutGuesses leaves out what a plain user's daemon cannot tell from other accesses, and so need not wait: see the traps
// of package fusefs.
func withoutGuesses(ops ...string) []string {
	if os.Geteuid() == 0 {
		return ops
	}
	return slices.DeleteFunc(ops, func(op string) bool { return op == "exec" || op == "readlink" })
}

// Every way to touch an absent path waits until it has come, alone or sixteen at once, and it comes once.
func TestAccess(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	c := s.NewCache(10)
	s.Configure([]*harness.Cache{c}, "max-substitution-jobs = 64", "max-jobs = 64")
	s.Mount()
	t.Cleanup(s.Unmount)

	var recipes []harness.Recipe
	gates := map[string]*harness.Gate{}
	name := func(op string, n int) string { return fmt.Sprintf("%s-%d", op, n) }
	for _, a := range accesses {
		for _, n := range []int{1, 16} {
			g := s.NewGate(name(a.op, n))
			gates[name(a.op, n)] = g
			recipes = append(recipes, harness.Recipe{Name: name(a.op, n), Script: g.Script() + makeHello})
		}
	}
	derived := map[string]harness.Derived{}
	for i, d := range s.Derive(recipes...) {
		derived[recipes[i].Name] = d
	}

	touch := func(t *testing.T, op, path, below, want string, n int, ready, release func()) {
		if below == "" && len(withoutGuesses(op)) == 0 {
			t.Skip("a plain user's daemon is not told who reads a link")
		}
		s := s.In(t)
		if op == "realpath" {
			want = "ok " + path + below
		}
		var all []*harness.Process
		for range n {
			all = append(all, s.Touch(op, path+below))
		}
		s.AwaitWaiters(path, n)
		ready()
		release()
		for _, p := range all {
			if got := p.Wait(); got.Out != want {
				t.Errorf("got %q %q, want %q", got.Out, got.Err, want)
			}
		}
	}
	for _, a := range accesses {
		for _, n := range []int{1, 16} {
			t.Run("substituted/"+name(a.op, n), func(t *testing.T) {
				t.Parallel()
				o := c.Add(name(a.op, n), helloTree)
				o.Hold(len(o.NAR) / 2)
				touch(t, a.op, o.Path, a.below, a.want, n, func() { o.AwaitHeld(t) }, o.Release)
				if o.Gets() != 1 {
					t.Errorf("the NAR was downloaded %d times", o.Gets())
				}
			})
			t.Run("built/"+name(a.op, n), func(t *testing.T) {
				t.Parallel()
				g := gates[name(a.op, n)]
				touch(t, a.op, derived[name(a.op, n)].Out, a.below, a.want, n, func() { g.AwaitReached(1) }, func() { g.Open(n) })
				if g.Reached() != 1 {
					t.Errorf("it was built %d times", g.Reached())
				}
			})
		}
	}
}
