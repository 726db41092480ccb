package builtin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// notForProfiles are ends of paths that are of no use in a profile, or that many packages have.
var notForProfiles = []string{
	"/propagated-build-inputs", "/nix-support", "/perllocal.pod", "/info/dir", "/log", "/manifest.nix", "/manifest.json",
}

// link makes the entries of the directory from appear in the directory to: a symlink for each, and where two packages have a
// directory of one name, a directory with the entries of both.
func (p *profile) link(from, to string, priority int) error {
	entries, err := os.ReadDir(from)
	if errors.Is(err, unix.ENOTDIR) {
		p.warn("not including '%s' in the user environment because it's not a directory", from)
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := p.linkEntry(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()), priority); err != nil {
			return err
		}
	}
	return nil
}

func (p *profile) linkEntry(from, to string, priority int) error {
	source, err := os.Stat(from)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		p.warn("skipping dangling symlink '%s'", to)
		return nil
	}
	if err != nil {
		return err
	}
	for _, end := range notForProfiles {
		if strings.HasSuffix(from, end) {
			return nil
		}
	}
	there, err := os.Lstat(to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p.symlink(from, to, priority)
	case err != nil:
		return err
	case source.IsDir() && there.IsDir():
		return p.link(from, to, priority)
	case source.IsDir():
		return p.split(from, to, priority)
	case there.IsDir():
		return fmt.Errorf("collision between non-directory '%s' and directory '%s'", from, to)
	}
	before := p.priorities[to]
	if before == priority {
		other, err := os.Readlink(to)
		if err != nil {
			return err
		}
		return fmt.Errorf("packages '%s' and '%s' have the same priority %d; use 'nix-env --set-flag priority NUMBER INSTALLED_PKGNAME' "+
			"to change the priority of one of the conflicting packages (0 being the highest priority)", from, other, priority)
	}
	if before < priority {
		return nil
	}
	if err := os.Remove(to); err != nil {
		return err
	}
	return p.symlink(from, to, priority)
}

// split makes the symlink at to, which should lead to a directory, a directory with links to what is in that, and adds the
// entries of from.
func (p *profile) split(from, to string, priority int) error {
	target, err := filepath.EvalSymlinks(to)
	if err != nil {
		return err
	}
	info, err := os.Lstat(target)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("collision between '%s' and non-directory '%s'", from, target)
	}
	before := p.priorities[to]
	if err := errors.Join(os.Remove(to), os.Mkdir(to, 0o755)); err != nil {
		return err
	}
	if err := p.link(target, to, before); err != nil {
		return err
	}
	return p.link(from, to, priority)
}

func (p *profile) symlink(from, to string, priority int) error {
	p.priorities[to] = priority
	return os.Symlink(from, to)
}

func (p *profile) warn(format string, args ...any) {
	fmt.Fprintf(p.log, "warning: "+format+"\n", args...)
}
