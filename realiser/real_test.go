package realiser_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"larder/nar/tree"
	"larder/realiser"
	"larder/realiser/builder"
	"larder/sandbox"
	"larder/sandbox/linux"
	"larder/store"
	"larder/store/derivation"
	"larder/store/local"
	"larder/test/fixture"
)

const busybox = "/bin/busybox"

// openStore opens a new local store of /nix/store paths in a temporary directory.
func openStore(t testing.TB) *local.Store {
	t.Helper()
	return openStoreOf(t, func(string) store.Dir { return store.DefaultDir })
}

// openStoreOf opens one of the paths of a directory that may lie in the temporary one.
func openStoreOf(t testing.TB, dir func(base string) store.Dir) *local.Store {
	t.Helper()
	// Not t.TempDir, whose parents only its owner may pass: builders can be other users.
	base, err := os.MkdirTemp("", "larder-realiser-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Remove(context.Background(), base); err != nil {
			t.Error(err)
		}
	})
	s, err := local.Open(t.Context(), local.Options{StoreDir: dir(base), ObjectDir: filepath.Join(base, "store"), StateDir: filepath.Join(base, "state"),
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// realSandbox is skipped where a sandbox needs what the machine does not have.
func realSandbox(t testing.TB) builder.Sandbox {
	t.Helper()
	if _, err := os.Stat(busybox); err != nil {
		t.Skipf("the builders are shell scripts for the static busybox: %v", err)
	}
	runner, err := linux.New(linux.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { runner.Close() })
	return runner
}

// open makes a Realiser with the settings under which the fixtures were made.
func open(t testing.TB, s *local.Store, box builder.Sandbox, change func(*realiser.Options)) *realiser.Realiser {
	t.Helper()
	environment := map[string]string{"FIXTURE_IMPURE": "impure value", "NOT_LISTED": "must not be seen"}
	o := realiser.Options{
		Store: s, Sandbox: box, MaxJobs: 2, Cores: 2, System: "x86_64-linux",
		SystemFeatures: []string{"benchmark", "big-parallel", "nixos-test"},
		SandboxPaths:   []sandbox.Mount{{Source: busybox, Target: "/bin/sh"}, {Source: busybox, Target: busybox}},
		BuildDir:       filepath.Join(filepath.Dir(s.StateDir()), "build"), LogDir: filepath.Join(s.StateDir(), "log", "nix"),
		Getenv: func(name string) (string, bool) { v, ok := environment[name]; return v, ok },
		Grace:  -1,
	}
	if change != nil {
		change(&o)
	}
	r, err := realiser.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		if left, err := os.ReadDir(o.BuildDir); err != nil || len(left) > 0 {
			t.Errorf("left in the build directory: %v %v", left, err)
		}
		if left, err := filepath.Glob(filepath.Join(s.ObjectDir(), ".larder-tmp-*")); err != nil || len(left) > 0 {
			t.Errorf("left in the object directory: %v %v", left, err)
		}
	})
	return r
}

// prebuilt is among the sources because of a resolved derivation that refers to
// it, but the fixed-output cases shall build it.
var prebuilt = map[string]bool{
	"mprhv5c4fchiaf4ykcbzyz3kfbj6fgrz-flat-sha256":     true,
	"bwa47iqhg2bgjl2mp007bjk9bj3wmsg2-ca-on-fixed.drv": true,
}

// loadDerivations registers all derivations and sources of the fixtures.
func loadDerivations(t testing.TB, s *local.Store) {
	t.Helper()
	dir := fixture.Unpack(t, "derivations/drvs.tar.zst")
	var adds []store.Addition
	for _, row := range fixture.TSV(t, "derivations/drvs.tsv") {
		p := parsePath(t, row[0])
		if prebuilt[p.String()] {
			continue
		}
		hash, err := store.ParseHash(row[1], store.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		info := &store.PathInfo{Path: p, NarHash: hash, References: parsePaths(t, strings.Fields(row[4]))}
		if info.CA, err = store.ParseContentAddress(row[3]); err != nil {
			t.Fatal(err)
		}
		for _, c := range row[2] {
			info.NarSize = info.NarSize*10 + uint64(c-'0')
		}
		temp, err := s.NewTemp(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		from := filepath.Join(dir, p.String())
		if st, err := os.Lstat(from); err == nil && st.IsDir() {
			os.Chmod(from, 0o755) // else only root could move it
		}
		if err := os.Rename(from, filepath.Join(s.ObjectDir(), temp)); err != nil {
			t.Fatal(err)
		}
		if err := s.Canonicalise(t.Context(), temp, -1); err != nil {
			t.Fatal(err)
		}
		adds = append(adds, store.Addition{Info: info, Temp: temp})
	}
	if err := s.Register(t.Context(), adds...); err != nil {
		t.Fatal(err)
	}
}

// addDrv registers a derivation, with the paths of its outputs filled in.
func addDrv(t testing.TB, s *local.Store, drv *derivation.Derivation) store.StorePath {
	t.Helper()
	if err := derivation.NewHasher(s.Dir(), s.Derivation).Fill(t.Context(), drv); err != nil {
		t.Fatal(err)
	}
	p, err := s.AddDerivation(t.Context(), drv)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func parsePath(t testing.TB, text string) store.StorePath {
	t.Helper()
	p, err := store.DefaultDir.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func parsePaths(t testing.TB, texts []string) []store.StorePath {
	t.Helper()
	var paths []store.StorePath
	for _, text := range texts {
		paths = append(paths, parsePath(t, text))
	}
	return store.SortPaths(paths)
}
