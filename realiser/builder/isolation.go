package builder

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"larder/sandbox"
	"larder/store/derivation"
)

// SandboxMode says which builders are kept from the machine's files (setting
// sandbox). The others have them all, except that the store directory is theirs
// to write in, and are as sure to be gone at the end.
type SandboxMode int

const (
	SandboxAlways  SandboxMode = iota // true
	SandboxRelaxed                    // relaxed: not those that ask for it, nor those with the network
	SandboxNever                      // false
)

// Refuse says why drv may not be built with what it wants of this machine. Its
// inputs need not be there yet.
func (b *Builder) Refuse(drv *derivation.Derivation, asks *derivation.Options, name string) error {
	if asks.NoChroot && b.opt.SandboxMode == SandboxAlways {
		return fmt.Errorf("derivation '%s' has '__noChroot' set, but that's not allowed when 'sandbox' is 'true'", name)
	}
	if !b.chroot(drv, asks) {
		return nil
	}
	for _, p := range asks.ImpureHostDeps {
		if !path.IsAbs(p) || !b.impureAllowed(path.Clean(p)) {
			return fmt.Errorf("derivation '%s' requested impure path '%s', but it was not in allowed-impure-host-deps", name, p)
		}
	}
	return nil
}

// impureAllowed compares paths only, and follows no symbolic links: whoever asks
// shall not learn where they lead.
func (b *Builder) impureAllowed(p string) bool {
	for _, allowed := range b.opt.AllowedImpureHostDeps {
		allowed = path.Clean(allowed)
		if p == allowed || allowed == "/" || strings.HasPrefix(p, allowed+"/") {
			return true
		}
	}
	return false
}

// chroot reports whether a builder is kept from the files of the host. One that
// has them needs the store directory to be there, too: where a store is used that
// is mounted nowhere, all builders are kept from them, as in Nix.
func (b *Builder) chroot(drv *derivation.Derivation, asks *derivation.Options) bool {
	switch {
	case b.opt.SandboxMode == SandboxAlways,
		b.opt.SandboxMode == SandboxRelaxed && !asks.NoChroot && !networked(drv):
		return true
	}
	st, err := os.Lstat(string(b.dir))
	return err != nil || !st.IsDir()
}

// homeless is the home directory of builders, which is nowhere.
const homeless = "/homeless-shelter"

// checkHome refuses to build where the builder would find a home all the same.
func (b *build) checkHome(home string) error {
	if !b.noChroot {
		return nil
	}
	if _, err := os.Lstat(home); err != nil {
		return nil // the sandbox says so if it is there, and out of our sight
	}
	return refusal{fmt.Errorf("home directory '%s' exists; please remove it to assure purity of builds without sandboxing", home)}
}

// rangeFeature is the system feature of builds that want many user ids, to run
// containers. They are root among them.
const rangeFeature = "uid-range"

func (b *build) addUIDRange(s *sandbox.Spec) error {
	switch {
	case !slices.Contains(b.Asks.RequiredSystemFeatures, rangeFeature):
		return nil
	case b.noChroot:
		return refusal{fmt.Errorf("derivation '%s': feature '%s' is only supported in sandboxed builds", b.name, rangeFeature)}
	case b.user.Count == 1:
		return refusal{fmt.Errorf("derivation '%s': feature '%s' requires the setting 'auto-allocate-uids' to be enabled", b.name, rangeFeature)}
	}
	s.UID, s.GID, s.UIDCount = 0, 0, b.user.Count
	return nil
}

// networked reports whether a builder has the machine's network: its outputs are
// checked against a hash, or are not meant to be the same every time.
func networked(drv *derivation.Derivation) bool {
	k := drv.Kind()
	return k == derivation.FixedOutput || k == derivation.Impure
}
