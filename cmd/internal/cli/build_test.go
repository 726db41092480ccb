package cli_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"

	"larder/cmd/internal/cli"
)

const wrongHash = `"hashAlgo": "sha256", "hash": "0000000000000000000000000000000000000000000000000000000000000000"`

func TestBuild(t *testing.T) {
	eachWay(t, func(t *testing.T, l *larder) {
		l.canBuild()
		first := l.derivation("first", "echo from the first > $out; echo said", nil, "")
		out := l.ok("query", "outputs", first)
		second := l.derivation("second", "read line < "+out+"; echo $line and the second > $out", []string{first}, "")
		got, progress, status := l.run("realise", "--add-root", "result", second, first+"!out")
		if status != 0 || got != l.ok("query", "outputs", second)+"\n"+out+"\n" {
			t.Fatalf("status %d, %s\n%s", status, got, progress)
		}
		if !strings.Contains(progress, "building "+first) {
			t.Errorf("progress: %s", progress)
		}
		if b, err := os.ReadFile(l.dir + "/result"); err != nil || string(b) != "from the first and the second\n" {
			t.Errorf("%s, %v", b, err)
		}
		if b, err := os.ReadFile(l.dir + "/result-2"); err != nil || string(b) != "from the first\n" {
			t.Errorf("%s, %v", b, err)
		}
		if log := l.ok("log", out); log != "said" {
			t.Errorf("log: %q", log)
		}
		var rows []map[string]any
		if err := json.Unmarshal([]byte(l.ok("--json", "realise", first, out)), &rows); err != nil || len(rows) != 2 ||
			rows[0]["status"] != "AlreadyValid" || rows[0]["drvPath"] != first || rows[1]["path"] != out {
			t.Errorf("%v, %v", rows, err)
		}
	})
}

// TestExitStatus: real failing builds, each alone and all together.
func TestExitStatus(t *testing.T) {
	eachWay(t, func(t *testing.T, l *larder) {
		l.canBuild()
		failing := l.derivation("failing", "echo the reason; exit 3", nil, "")
		mismatch := l.derivation("mismatch", "echo > $out", nil, wrongHash)
		above := l.derivation("above", "echo > $out", []string{failing}, "")
		for _, c := range []struct {
			status int
			text   string
			args   []string
		}{
			{100, "failed with exit code 3", []string{failing}},
			{102, "hash mismatch", []string{mismatch}},
			{100, "failed with exit code 3", []string{above}},
			{1, "no substituter that has it", []string{"7rjj86a15146cq1d3qy068lml7n7ykzm-nowhere"}},
		} {
			_, stderr, status := l.run(append([]string{"realise"}, c.args...)...)
			if status != c.status || !strings.Contains(stderr, "error: ") || !strings.Contains(stderr, c.text) {
				t.Errorf("%s: status %d, want %d\n%s", c.args, status, c.status, stderr)
			}
		}
		_, stderr, status := l.run("realise", "--keep-going", failing, mismatch, above)
		if status != 102 || strings.Count(stderr, "error: ") != 3 || strings.Count(stderr, "  > the reason\n") != 1 ||
			strings.Count(stderr, "larder log "+failing+"\n") != 1 {
			t.Errorf("status %d\n%s", status, stderr)
		}
		if why := l.ok("why", l.ok("query", "outputs", failing)); l.hasDaemon && !strings.Contains(why, "failed with exit code 3") {
			t.Errorf("why: %s", why)
		}
	})
}

// TestBuildDirs: where build directories are, here and for the builder.
func TestBuildDirs(t *testing.T) {
	t.Parallel()
	l := newLarder(t)
	l.canBuild()
	here := l.derivation("here", "> kept; exit 1", nil, "")
	_, stderr, status := l.run("--option", "build-dir", l.dir+"/scratch", "--option", "sandbox-build-dir", "/b/inside", "--option", "keep-failed", "true", "realise", here)
	if status != 100 || !strings.Contains(stderr, "the build directory was kept: "+l.dir+"/scratch/") {
		t.Errorf("status %d\n%s", status, stderr)
	}
	where := l.derivation("where", "cd $TMPDIR; /bin/sh -c pwd > $out; echo $NIX_BUILD_TOP >> $out", nil, "")
	if b, err := os.ReadFile(l.ok("--option", "sandbox-build-dir", "/b/inside", "realise", where)); err != nil || string(b) != "/b/inside\n/b/inside\n" {
		t.Errorf("%q, %v", b, err)
	}
	l.fails(1, `setting sandbox-build-dir: "inside"`, "--option", "sandbox-build-dir", "inside", "realise", where)
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	l := newLarder(t)
	l.canBuild()
	slow := l.derivation("slow", "read line < /dev/zero", nil, "")
	failing := l.derivation("failing", "exit 1", nil, "")
	if _, stderr, status := l.run("--option", "timeout", "1", "realise", slow); status != 101 {
		t.Errorf("status %d\n%s", status, stderr)
	}
	if _, stderr, status := l.run("--option", "timeout", "1", "realise", "-k", "-j", "2", slow, failing); status != 101 {
		t.Errorf("status %d, want 100|101\n%s", status, stderr)
	}
}

// TestInterrupt: a signal cancels the build, and nothing of it is left.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	l := newLarder(t)
	l.canBuild()
	slow := l.derivation("slow", "read line < /dev/zero", nil, "")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan int, 1)
	go func() {
		_, stderr, status := l.runCtx(ctx, "realise", slow)
		if !strings.HasSuffix(stderr, "error: interrupted\n") {
			t.Errorf("it says %q", stderr)
		}
		ended <- status
	}()
	l.await(func() bool {
		entries, err := os.ReadDir(l.dir + "/state/builds")
		return err == nil && len(entries) > 0
	})
	cancel(&cli.Interrupted{Signal: syscall.SIGINT})
	if status := <-ended; status != 130 {
		t.Errorf("status %d", status)
	}
	if entries, err := os.ReadDir(l.dir + "/state/builds"); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	l.ok("status") // the store can be opened again
}
