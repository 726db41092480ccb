package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// changing is a derivation that makes something else each time.
func (l *larder) changing() string {
	return l.derivation("changing", "read u < /proc/sys/kernel/random/uuid; echo $u > $out", nil, "")
}

// damage changes an object of the store.
func (l *larder) damage(path string) {
	l.t.Helper()
	if err := os.Chmod(path, 0o644); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("damaged\n"), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func TestCheckAndRounds(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, l *larder) {
		l.canBuild()
		same, changing := l.derivation("same", "echo same > $out", nil, ""), l.changing()
		l.fails(1, "some outputs of '"+same+"' are not valid, so checking is not possible", "realise", "--check", same)
		out := l.ok("realise", "--rounds", "3", same)
		if got := l.ok("realise", "--check", same); got != out {
			t.Errorf("checked %s, not %s", got, out)
		}
		_, stderr, status := l.run("realise", "--rounds", "2", changing)
		if status != 104 || !strings.Contains(stderr, "differs from previous round") || !strings.Contains(stderr, "(round 2 of 2)") {
			t.Errorf("status %d\n%s", status, stderr)
		}
		out = l.ok("realise", changing)
		was, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		_, stderr, status = l.run("realise", "--check", "-K", changing)
		if status != 104 || !strings.Contains(stderr, "may not be deterministic: output '"+out+"' differs (sha256-") {
			t.Errorf("status %d\n%s", status, stderr)
		}
		_, after, _ := strings.Cut(stderr, "kept as '")
		kept, _, _ := strings.Cut(after, "'")
		if now, err := os.ReadFile(kept); err != nil || string(now) == string(was) || filepath.Base(kept) != filepath.Base(out)+".check" {
			t.Errorf("kept as %q: %q, %v", kept, now, err)
		}
		if now, err := os.ReadFile(out); err != nil || string(now) != string(was) {
			t.Errorf("the valid output became %q, %v", now, err)
		}
		l.fails(1, "'"+out+"' is not a derivation, and only a build can be checked", "realise", "--check", out)
	})
}

func TestRepairAndVerify(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, l *larder) {
		l.canBuild()
		dep := l.derivation("dep", "echo dep > $out", nil, "")
		depOut := l.ok("realise", dep)
		top := l.derivation("top", "echo "+depOut+" > $out", []string{dep}, "")
		out := l.ok("realise", top)
		source := l.ok("add", "--name", "source", l.write("source", "text"))
		l.ok("store", "verify", "--all", "--check-contents")

		l.damage(depOut)
		l.damage(out)
		l.damage(source)
		l.ok("store", "verify", "--all")
		printed, stderr, status := l.run("store", "verify", "--check-contents", out)
		if status != 1 || printed != out+"\n" || !strings.Contains(stderr, "expected hash sha256-") {
			t.Errorf("status %d, %q\n%s", status, printed, stderr)
		}
		if printed, _, status = l.run("store", "verify", "--check-contents", "--json", out); status != 1 ||
			!strings.HasPrefix(printed, `{"bad":[{"path":"`+out+`","problem":"`) || !strings.HasSuffix(printed, `"repaired":false}],"checked":1}`+"\n") {
			t.Errorf("status %d, %s", status, printed)
		}
		printed, stderr, status = l.run("store", "verify", "--check-contents", "--all", "--repair")
		if status != 1 || strings.Count(printed, "\n") != 3 || !strings.Contains(stderr, "3 bad, 2 of them repaired") || !strings.Contains(stderr, "cannot repair path '"+source+"'") {
			t.Errorf("status %d, %q\n%s", status, printed, stderr)
		}
		l.ok("store", "verify", "--check-contents", out, depOut)

		l.damage(depOut)
		if err := os.Remove(out); err != nil {
			t.Fatal(err)
		}
		if got := l.ok("realise", "--repair", top); got != out {
			t.Errorf("repaired %s", got)
		}
		l.ok("store", "verify", "--check-contents", out, depOut)
		l.fails(1, "needs a PATH, or --all", "store", "verify")
	})
}

func TestOptimiseCommand(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, l *larder) {
		text := strings.Repeat("text", 10000)
		l.ok("add", "--name", "a", l.write("a", text))
		l.ok("add", "--name", "b", l.write("b", text))
		if got := l.ok("store", "optimise"); got != "1 file replaced by links, 40.0 KiB freed" && !strings.HasPrefix(got, "1 file replaced by links, 4") {
			t.Errorf("it says %q", got)
		}
		l.ok("store", "verify", "--all", "--check-contents")
	})
}
