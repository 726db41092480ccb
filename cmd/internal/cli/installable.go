package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"larder/realiser"
	"larder/store"
)

// installable is what an argument names: a store path, or outputs of a derivation.
type installable struct {
	path    store.StorePath
	through []string // outputs that lead to a derivation that is built first
	outputs []string // of a derivation; nil: none were named
	all     bool     // ^*
}

// installable parses an argument: an absolute store path, one inside a store object, a base name, a symlink into the store,
// and for a derivation ^ and its outputs: DRV^out,dev or DRV^*; DRV^out^dev if DRV makes the derivation; DRV!out is the older form.
func (a *app) installable(d store.Dir, arg string) (installable, error) {
	name, outputs, chosen := cutOutputs(arg)
	p, err := a.parsePath(d, name)
	if err != nil {
		return installable{}, err
	}
	if !chosen {
		return installable{path: p}, nil
	}
	if !p.IsDerivation() {
		return installable{}, usagef("%q: %s is not a derivation, so it has no outputs to choose from", arg, d.Join(p))
	}
	through, list, err := realiser.ParseOutputs(strings.Split(outputs, "^"))
	if err != nil {
		return installable{}, usagef("%q: after ^ comes * or names of outputs, separated by commas", arg)
	}
	slices.Sort(list)
	return installable{path: p, through: through, outputs: slices.Compact(list), all: list == nil}, nil
}

// cutOutputs splits an argument before its outputs, which have no slash in them: neither have store paths a ^ or !.
func cutOutputs(arg string) (name, outputs string, chosen bool) {
	base := strings.LastIndexByte(arg, '/') + 1
	i := strings.IndexByte(arg[base:], '^')
	if i < 0 {
		i = strings.LastIndexByte(arg[base:], '!')
	}
	if i < 0 {
		return arg, "", false
	}
	return arg[:base+i], arg[base+i+1:], true
}

// target is what is to be realised. A derivation without outputs means all of them.
func (i installable) target() realiser.Target {
	if i.path.IsDerivation() {
		return realiser.Target{Drv: i.path, Through: i.through, Outputs: i.outputs}
	}
	return realiser.Target{Path: i.path}
}

// parsePath parses what names one store object.
func (a *app) parsePath(d store.Dir, arg string) (store.StorePath, error) {
	if arg == "" {
		return store.StorePath{}, usagef("a store path is missing")
	}
	if !strings.Contains(arg, "/") {
		if p, err := store.ParseStorePath(arg); err == nil {
			return p, nil
		}
	}
	name, err := resolve(d, a.absolute(arg))
	if err != nil {
		return store.StorePath{}, fmt.Errorf("%q is not a store path: %w", arg, err)
	}
	p, _, err := d.Split(name)
	if err != nil {
		return store.StorePath{}, fmt.Errorf("%s: %w", arg, err)
	}
	return p, nil
}

// resolve follows symlinks (such as ./result) until the path is in the store. It looks at nothing inside the store: that
// would realise it.
func resolve(d store.Dir, name string) (string, error) {
	for range 40 { // as many as the kernel follows
		if strings.HasPrefix(name, string(d)+"/") {
			return name, nil
		}
		link, rest, err := firstLink(name)
		if err != nil {
			return "", err
		}
		if link == "" {
			return "", fmt.Errorf("it is not in %s", d)
		}
		target, err := os.Readlink(link)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		name = filepath.Join(target, rest)
	}
	return "", errors.New("too many symlinks")
}

// firstLink finds the first component of a path that is a symlink; "" if none is.
func firstLink(name string) (link, rest string, err error) {
	for i := 1; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		info, err := os.Lstat(name[:i])
		if errors.Is(err, os.ErrNotExist) {
			return "", "", nil // the caller's "not in the store" says more
		}
		if err != nil {
			return "", "", err
		}
		if info.Mode()&os.ModeSymlink != 0 {
			return name[:i], name[i:], nil
		}
	}
	return "", "", nil
}

// parsePaths parses arguments that name store objects.
func (a *app) parsePaths(d store.Dir, args []string) ([]store.StorePath, error) {
	paths := make([]store.StorePath, 0, len(args))
	for _, arg := range args {
		p, err := a.parsePath(d, arg)
		if err != nil {
			return nil, err
		}
		paths = append(paths, p)
	}
	return paths, nil
}
