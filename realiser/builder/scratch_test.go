package builder

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"larder/realiser/userpool"
	"larder/sandbox"
)

func TestStaleBuildDirectories(t *testing.T) {
	parent := t.TempDir()
	stale := filepath.Join(parent, scratchPrefix+"stale")
	if err := os.MkdirAll(filepath.Join(stale, "build", "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	used, err := newScratch(parent, "used", userpool.Identity{UID: sandbox.CallingUser, GID: sandbox.CallingUser})
	if err != nil {
		t.Fatal(err)
	}
	failed, err := newScratch(parent, "failed", userpool.Identity{UID: sandbox.CallingUser, GID: sandbox.CallingUser})
	if err != nil {
		t.Fatal(err)
	}
	if err := failed.retain(userpool.Identity{UID: sandbox.CallingUser, GID: sandbox.CallingUser}); err != nil {
		t.Fatal(err)
	}
	if err := sweepScratch(parent); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{stale: false, used.build: true, failed.build: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if err := used.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(used.dir); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
