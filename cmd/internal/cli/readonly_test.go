package cli_test

import (
	"strings"
	"testing"
)

// A read-only store serves what is here, also with nobody else's permission; the rest has no write access.
func TestReadOnlyStore(t *testing.T) {
	t.Parallel()
	l := newLarder(t)
	l.canBuild()
	here := l.derivation("here", "echo here > $out", nil, "")
	out := l.ok("realise", here)
	absent := l.derivation("absent", "echo absent > $out", nil, "")
	absentOut := l.ok("query", "outputs", absent)
	l.options = append(l.options, "--option", "read-only", "true")
	if got := l.ok("realise", here, out); got != out+"\n"+out && got != out {
		t.Errorf("realise of what is here: %s", got)
	}
	for _, what := range []string{absent, absentOut} {
		if _, stderr, status := l.run("realise", what); status != 1 || !strings.Contains(stderr, "no write access to the store") {
			t.Errorf("realise %s: status %d, %s", what, status, stderr)
		}
	}
	if _, stderr, status := l.run("gc"); status != 1 || !strings.Contains(stderr, "no write access to the store") {
		t.Errorf("gc: status %d, %s", status, stderr)
	}
	l.daemonOnReadOnly(here, absent)
}

// daemonOnReadOnly asks the same of a daemon.
func (l *larder) daemonOnReadOnly(here, absent string) {
	l.t.Helper()
	l.daemon()
	l.ok("realise", here)
	if _, stderr, status := l.run("realise", absent); status != 1 || !strings.Contains(stderr, "no write access to the store") {
		l.t.Errorf("realise %s through the daemon: status %d, %s", absent, status, stderr)
	}
}
