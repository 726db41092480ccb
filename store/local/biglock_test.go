package local_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/nar/tree"
	"larder/store/local"
)

// inNix puts the objects where a Nix would have them, below dir.
func inNix(dir string) func(*local.Options) {
	return func(o *local.Options) { o.ObjectDir = filepath.Join(dir, "nix", "store") }
}

func makeBigLock(t *testing.T, dir string) *os.File {
	t.Helper()
	db := filepath.Join(dir, "nix", "var", "nix", "db")
	if err := os.MkdirAll(db, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(db, "big-lock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func flock(t *testing.T, f *os.File, how int) error {
	t.Helper()
	return tree.Retry(func() error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) })
}

func TestBigLock(t *testing.T) {
	dir := t.TempDir()
	nix := makeBigLock(t, dir)
	f := newFixture(t, inNix(dir))
	if err := flock(t, nix, unix.LOCK_SH); err != unix.EWOULDBLOCK {
		t.Errorf("a Nix process can go to work: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f.Store = nil
	if err := flock(t, nix, unix.LOCK_SH); err != nil {
		t.Fatalf("after Close: %v", err)
	}
	_, err := local.Open(t.Context(), f.options)
	var locked *local.LockedError
	if !errors.As(err, &locked) || !strings.Contains(err.Error(), "nix-daemon") || !strings.Contains(err.Error(), nix.Name()) {
		t.Errorf("while a Nix process is at work: %v", err)
	}
	f.options.ReadOnly = true // that disturbs nobody
	f.open()
	if err := flock(t, nix, unix.LOCK_EX); err != unix.EWOULDBLOCK {
		t.Errorf("Nix can change its schema under a reader: %v", err)
	}
}

// Real Nix waits while Larder has its store, and goes on then.
func TestRealNixWaits(t *testing.T) {
	if _, err := exec.LookPath("nix-store"); err != nil {
		t.Skipf("real Nix is not installed: %v", err)
	}
	dir := t.TempDir()
	nix := func() *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "nix-store", "--store", dir, "--verify")
		cmd.Env = append(os.Environ(), "HOME="+dir, "NIX_CONF_DIR="+dir, "NIX_CONFIG=build-users-group =")
		return cmd
	}
	if out, err := nix().CombinedOutput(); err != nil {
		t.Skipf("Nix can't make a store here: %v: %s", err, out)
	}
	t.Cleanup(func() { tree.Remove(context.Background(), filepath.Join(dir, "nix")) })
	f := newFixture(t, inNix(dir))
	cmd := nix()
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first, _ := bufio.NewReader(said).ReadString('\n')
	if !strings.Contains(first, "waiting for the big Nix store lock") {
		t.Errorf("Nix says %q", first)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	f.Store = nil
	if err := cmd.Wait(); err != nil {
		t.Errorf("when Larder has ended: %v", err)
	}
}
