package remote_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"larder/store"
	"larder/store/remote"
	"larder/store/wire"
)

// nix is a real nix-daemon with a store of its own.
type nix struct {
	t    *testing.T
	base string
	env  []string
	*remote.Store
}

func startNix(t *testing.T) *nix {
	t.Helper()
	program, err := exec.LookPath("nix-daemon")
	if err != nil {
		t.Skip("needs nix-daemon (Debian: nix-bin)")
	}
	base, err := os.MkdirTemp("", "larder-remote") // the names of sockets must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	if err := os.MkdirAll(base+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(base+"/etc/nix.conf", []byte("build-users-group =\nsubstituters =\nsandbox = false\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	socket := base + "/socket"
	n := &nix{t: t, base: base, env: append(os.Environ(), "NIX_REMOTE=", "HOME="+base, "NIX_CONF_DIR="+base+"/etc", "NIX_STORE_DIR="+base+"/store",
		"NIX_STATE_DIR="+base+"/var", "NIX_LOG_DIR="+base+"/log", "NIX_DAEMON_SOCKET_PATH="+socket)}
	n.run("nix-store", "--init")
	daemon := exec.Command(program)
	daemon.Env = n.env
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	n.Store = remote.New(remote.Options{Dir: store.Dir(base + "/store"), Name: "unix://" + socket, Dial: remote.Unix(socket),
		Settings: &wire.SetOptions{Verbosity: wire.VerbosityError, UseSubstitutes: true}})
	t.Cleanup(func() {
		n.Close()
		daemon.Process.Kill()
		daemon.Wait()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		_, _, err := n.Greeting(ctx)
		if err == nil {
			return n
		}
		select {
		case <-ctx.Done():
			t.Fatalf("nix-daemon does not answer: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// run returns what a program of Nix prints.
func (n *nix) run(name string, args ...string) string {
	n.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = n.env, n.base
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		n.t.Fatalf("%s %q: %v: %s", name, args, err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}

func (n *nix) parse(s string) store.StorePath {
	n.t.Helper()
	p, err := n.Dir().Parse(s)
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

// instantiate makes a derivation that refers to a source.
func (n *nix) instantiate() (drv, source store.StorePath) {
	n.t.Helper()
	if err := os.WriteFile(n.base+"/source", []byte("a source\n"), 0o644); err != nil {
		n.t.Fatal(err)
	}
	source = n.parse(n.run("nix-store", "--add", filepath.Join(n.base, "source")))
	drv = n.parse(n.run("nix-instantiate", "-E",
		`derivation { name = "d"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ ./source ]; outputs = [ "out" "dev" ]; }`))
	return drv, source
}

func TestReadFromNix(t *testing.T) {
	n := startNix(t)
	ctx := t.Context()
	drv, source := n.instantiate()
	greeting, protocol, err := n.Greeting(ctx)
	if err != nil || !strings.Contains(n.run("nix-daemon", "--version"), greeting.NixVersion) || protocol.Version < wire.MinVersion {
		t.Errorf("%+v, %v, %v", greeting, protocol, err)
	}

	info, err := n.PathInfo(ctx, drv)
	if err != nil {
		t.Fatal(err)
	}
	if want := n.run("nix-store", "-q", "--hash", n.Dir().Join(drv)); info.NarHash.String() != want || !slices.Equal(info.References, []store.StorePath{source}) {
		t.Errorf("%+v, want hash %s", info, want)
	}
	if !info.ContentAddressed(n.Dir()) {
		t.Errorf("the content address %s does not fit", info.CA)
	}

	for name, get := range map[string]func() ([]store.StorePath, error){
		"all":       func() ([]store.StorePath, error) { return n.All(ctx) },
		"valid":     func() ([]store.StorePath, error) { return n.Valid(ctx, []store.StorePath{drv, absent(t), source}) },
		"referrers": func() ([]store.StorePath, error) { r, err := n.Referrers(ctx, source); return append(r, source), err },
		"missing": func() ([]store.StorePath, error) {
			m, err := n.Missing(ctx, []wire.DerivedPath{{Path: drv, All: true}})
			if err != nil {
				return nil, err
			}
			return append(m.WillBuild, source), nil
		},
		"hash part": func() ([]store.StorePath, error) {
			p, err := n.PathFromHashPart(ctx, drv.HashPart())
			return []store.StorePath{p, source}, err
		},
	} {
		got, err := get()
		if err != nil || !slices.Equal(store.SortPaths(got), store.SortPaths([]store.StorePath{drv, source})) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	outputs, err := n.Outputs(ctx, drv)
	if err != nil || len(outputs) != 2 {
		t.Fatalf("outputs %v, %v", outputs, err)
	}
	derivers, err := n.ValidDerivers(ctx, outputs["dev"])
	if err != nil || !slices.Equal(derivers, []store.StorePath{drv}) {
		t.Errorf("derivers %v, %v", derivers, err)
	}
}

func absent(t *testing.T) store.StorePath {
	return mustPath(t, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-absent")
}

func TestWhatNixDoesNotHave(t *testing.T) {
	n := startNix(t)
	ctx, p := t.Context(), absent(t)
	if _, err := n.PathInfo(ctx, p); !errors.Is(err, store.ErrNotValid) {
		t.Errorf("PathInfo: %v", err)
	}
	if _, err := n.NarInfo(ctx, p); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("NarInfo: %v", err)
	}
	if _, err := n.NAR(ctx, &store.NarInfo{PathInfo: store.PathInfo{Path: p}}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("NAR: %v", err)
	}
	if _, err := n.PathFromHashPart(ctx, p.HashPart()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("PathFromHashPart: %v", err)
	}
	var refused *wire.Error
	if _, err := n.Referrers(ctx, p); err != nil && !errors.As(err, &refused) {
		t.Errorf("Referrers: %v", err)
	}
}

func TestNARsOfNix(t *testing.T) {
	n := startNix(t)
	ctx := t.Context()
	_, source := n.instantiate()
	info, err := n.NarInfo(ctx, source)
	if err != nil {
		t.Fatal(err)
	}
	for _, whole := range []bool{true, false, true} {
		r, err := n.NAR(ctx, info)
		if err != nil {
			t.Fatal(err)
		}
		hash := store.SHA256.New()
		if whole {
			if _, err := io.Copy(hash, r); err != nil || store.SumOf(store.SHA256, hash) != info.NarHash {
				t.Errorf("another NAR: %v", err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAddToNix(t *testing.T) {
	n := startNix(t)
	ctx := t.Context()
	for _, size := range []int{0, 100, 3 << 20} {
		content := bytes.Repeat([]byte("x"), size)
		nar := fileNAR(content)
		ca := store.ContentAddress{Method: store.Flat, Hash: store.SHA256.Sum(content)}
		p, err := n.Dir().ContentPath("note", ca, store.References{})
		if err != nil {
			t.Fatal(err)
		}
		info := &store.PathInfo{Path: p, NarHash: store.SHA256.Sum(nar), NarSize: uint64(len(nar)), CA: ca}
		wrong := info.Clone()
		wrong.NarHash = store.SHA256.Sum(content)
		var refused *wire.Error
		if err := n.AddNAR(ctx, wrong, bytes.NewReader(nar), true); !errors.As(err, &refused) {
			t.Errorf("%d bytes with a wrong hash: %v", size, err)
		}
		if err := n.AddNAR(ctx, info, bytes.NewReader(nar), false); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if got, err := os.ReadFile(n.Dir().Join(p)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes arrived as %d: %v", size, len(got), err)
		}
		n.run("nix-store", "--verify-path", n.Dir().Join(p))
	}
}

// fileNAR is the NAR of a file.
func fileNAR(content []byte) []byte {
	var b []byte
	for _, s := range []string{"nix-archive-1", "(", "type", "regular", "contents", string(content), ")"} {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
		b = append(b, make([]byte, -uint(len(s))%8)...)
	}
	return b
}
