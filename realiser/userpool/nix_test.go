package userpool_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"larder/realiser/userpool"
	"larder/test/ids"
)

// nixBuild starts a build by real Nix, as members of the group nixbld, and returns what it prints, line by line.
func nixBuild(t *testing.T, ctx context.Context, state, script string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	base := filepath.Dir(state)
	expr := `derivation { name = "x"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" ''` + script + `'' ]; }`
	cmd := exec.CommandContext(ctx, "nix-build", "--no-out-link", "-E", expr, "--option", "sandbox", "false", "--option", "build-poll-interval", "1",
		"--option", "build-users-group", "nixbld", "--option", "substitute", "false")
	cmd.Env = append(os.Environ(), "NIX_STATE_DIR="+state, "NIX_STORE_DIR="+filepath.Join(base, "store"), "NIX_LOG_DIR="+filepath.Join(base, "log"),
		"NIX_CONF_DIR="+filepath.Join(base, "conf"), "NIX_REMOTE=", "HOME="+base)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it cleans up
	cmd.WaitDelay = 20 * time.Second
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// until reads lines up to one with this text.
func until(t *testing.T, lines *bufio.Scanner, text string) {
	t.Helper()
	var all []string
	for lines.Scan() {
		all = append(all, lines.Text())
		if strings.Contains(lines.Text(), text) {
			return
		}
	}
	t.Fatalf("no line with %q: %q, %v", text, all, lines.Err())
}

// lockOnMachine keeps other tests from a user that is locked in another directory here: they would kill what runs under it.
func lockOnMachine(t *testing.T, uid int) {
	t.Helper()
	dir := filepath.Join(ids.Machine(t), "userpool")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Skipf("no place for the machine's locks: %v", err)
	}
	path := filepath.Join(dir, strconv.Itoa(uid))
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		locked, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(locked, now) {
			return // nobody has removed it meanwhile
		}
	}
}

// Real Nix and a Pool with the same directory never use an identity at the same time.
func TestBesideNix(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("nix-build"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and real Nix (Debian: nix-bin)")
	}
	if _, err := user.LookupGroup("nixbld"); err != nil {
		t.Skip("needs the group nixbld with members (Debian: nix-setup-systemd)")
	}
	// Not t.TempDir, whose parents only its owner may pass: the builders are other users.
	base, err := os.MkdirTemp("", "larder-userpool-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(base, 0o711); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(base, "state")
	pool, err := userpool.New(userpool.Options{Dir: state, Group: "nixbld", Kill: new(killings).kill})
	if err != nil {
		t.Fatal(err)
	}
	all := taken(t, pool)
	if len(all) < 2 {
		t.Skip("the group nixbld has fewer than two members")
	}
	lockOnMachine(t, all[0].UID) // the only one that Nix gets here

	// All are ours: Nix waits, and goes on with the one that is released.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	waiting, lines := nixBuild(t, ctx, state, "echo > $out")
	until(t, lines, "waiting for UID")
	all[0].Release()
	var rest []string
	for lines.Scan() {
		rest = append(rest, lines.Text())
	}
	if err := waiting.Wait(); err != nil {
		t.Errorf("Nix: %v: %q", err, rest)
	}
	for _, l := range all[1:] {
		l.Release()
	}

	// One is Nix's: the others are free.
	building, lines := nixBuild(t, ctx, state, "echo begun; exec /bin/sleep 1000")
	until(t, lines, "begun")
	free := taken(t, pool)
	if len(free) != len(all)-1 {
		t.Errorf("%d of %d are free", len(free), len(all))
	}
	cancel()
	_ = building.Wait() // it was interrupted
	if n := len(taken(t, pool)); n != 1 {
		t.Errorf("%d more are free without Nix", n)
	}
}
