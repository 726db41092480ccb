package builder

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"larder/sandbox"
	"larder/store"
)

// places are what a builder sees, by where it sees it.
type places map[string]sandbox.Mount

func (p places) add(m sandbox.Mount) {
	// Nix takes no notice of it, and configurations have it.
	if m.Source != "/proc" && m.Target != "/proc" {
		p[m.Target] = m
	}
}

// mounts are the files that the builder sees beside its own directories. What
// comes later counts where two have the same place: files of the settings, what
// the derivation may ask for, inputs, what the pre-build hook adds.
func (b *build) mounts() ([]sandbox.Mount, error) {
	see := places{}
	if !b.noChroot {
		if err := b.addSettings(see); err != nil {
			return nil, err
		}
		for _, p := range b.Asks.ImpureHostDeps { // Refuse has looked at them
			see.add(sandbox.Mount{Source: path.Clean(p), Target: path.Clean(p), Optional: true})
		}
	}
	for _, p := range b.Inputs {
		see.add(b.object(p))
	}
	// What the settings need may have an output that is built anew.
	for _, p := range b.Outputs {
		delete(see, b.dir.Join(p))
	}
	b.certificates(see)
	extra, err := b.preBuildHook()
	if err != nil {
		return nil, err
	}
	if !b.noChroot {
		for _, m := range extra {
			if m, _, err = b.shared(m); err != nil {
				return nil, fmt.Errorf("pre-build hook: %w", err)
			}
			see.add(m)
		}
	}
	all := slices.Collect(maps.Values(see))
	b.shares = slices.ContainsFunc(all, b.mayHaveSockets)
	return all, nil
}

// mayHaveSockets reports whether a builder may meet others at what is mounted. Objects have no sockets.
func (b *build) mayHaveSockets(m sandbox.Mount) bool {
	if m.Source == b.store.ObjectDir() || strings.HasPrefix(m.Source, b.store.ObjectDir()+"/") {
		return false
	}
	st, err := os.Lstat(m.Source)
	return err == nil && (st.IsDir() || st.Mode()&os.ModeSocket != 0)
}

// object shows a valid path at its place.
func (b *build) object(p store.StorePath) sandbox.Mount {
	return sandbox.Mount{Source: b.store.ObjectPath(p), Target: b.dir.Join(p)}
}

// addSettings adds the files of the settings. If they lie in the store, they come
// with the closure of their store path.
func (b *build) addSettings(see places) error {
	var roots []store.StorePath
	for _, m := range b.opt.SandboxPaths {
		m, root, err := b.shared(m)
		switch {
		case errors.Is(err, store.ErrNotValid) && m.Optional:
			continue
		case err != nil:
			return fmt.Errorf("while processing 'sandbox-paths': %w", err)
		}
		if _, err := os.Lstat(m.Source); errors.Is(err, fs.ErrNotExist) && !m.Optional {
			return fmt.Errorf("while processing 'sandbox-paths': '%s' does not exist; with a ? behind it it would be left out", m.Source)
		}
		see.add(m)
		if !root.IsZero() {
			roots = append(roots, root)
		}
	}
	if len(roots) == 0 {
		return nil
	}
	closure, err := b.store.Closure(b.ctx, roots)
	if err != nil {
		return fmt.Errorf("while processing 'sandbox-paths': %w", err)
	}
	for _, p := range closure {
		see.add(b.object(p))
	}
	return nil
}

// shared makes a file of the machine visible that an administrator names, with
// what its permissions allow: devices work, and a directory can be written, a
// compiler's cache for example. A single file is a program as a rule, and must not
// be changed by a builder that has the owner's identity; and root's builder could
// change everything.
//
// What lies in the store is taken from where the objects are, without the mount,
// which might wait for this very build. Its store path, which must be valid, is
// returned and kept from garbage collection until the build ends.
func (b *build) shared(m sandbox.Mount) (sandbox.Mount, store.StorePath, error) {
	if m.Source == string(b.dir) {
		m.Source = b.store.ObjectDir()
		return m, store.StorePath{}, nil
	}
	if strings.HasPrefix(m.Source, string(b.dir)+"/") {
		p, rest, err := b.dir.Split(m.Source)
		if err != nil {
			return m, p, err
		}
		b.unroot = append(b.unroot, b.store.AddTempRoot(p))
		if _, err := b.store.PathInfo(b.ctx, p); err != nil {
			return m, p, fmt.Errorf("'%s' can't be shown to builders before it is realised: %w", m.Source, err)
		}
		m.Source = b.store.ObjectPath(p) + rest
		return m, p, nil
	}
	st, err := os.Lstat(m.Source)
	m.Devices = true
	m.Writable = err == nil && st.IsDir() && b.uid() != 0
	return m, store.StorePath{}, nil // that it is missing is found out when it is opened
}
