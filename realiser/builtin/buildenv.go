package builtin

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// BuildEnv is builtin:buildenv, which makes the profiles of nix-env. Attributes:
//
//	derivations  packages, as parsePackages reads them
//	manifest     a file that manifest.nix in the output will link to
//
// What packages propagate (nix-support/propagated-user-env-packages) comes after all of them, with the lowest priority.
func BuildEnv(in *Input, log io.Writer) error {
	out, err := in.out()
	if err != nil {
		return err
	}
	text, err := in.attribute("derivations")
	if err != nil {
		return err
	}
	manifest, err := in.attribute("manifest")
	if err != nil {
		return err
	}
	packages, err := parsePackages(text)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	p := &profile{out: out, log: log, priorities: make(map[string]int), done: make(map[string]bool)}
	if err := p.addAll(packages); err != nil {
		return err
	}
	return os.Symlink(manifest, filepath.Join(out, "manifest.nix"))
}

// pkg is an output of a package.
type pkg struct {
	path     string
	active   bool
	priority int // the lowest number wins
}

// parsePackages reads words: for each package "true" or "false" (whether it is active), its priority, the number of its
// outputs, and these.
func parsePackages(text string) ([]pkg, error) {
	words := strings.Fields(text)
	malformed := func(why string) ([]pkg, error) {
		return nil, fmt.Errorf("attribute 'derivations' is malformed: %s", why)
	}
	var packages []pkg
	for len(words) > 0 {
		if len(words) < 3 {
			return malformed("it ends in the middle of a package")
		}
		priority, err := strconv.Atoi(words[1])
		if err != nil {
			return malformed(fmt.Sprintf("'%s' is not a priority", words[1]))
		}
		outputs, err := strconv.Atoi(words[2])
		if err != nil || outputs < 0 {
			return malformed(fmt.Sprintf("'%s' is not a number of outputs", words[2]))
		}
		active := words[0] != "false"
		words = words[3:]
		if outputs > len(words) {
			return malformed(fmt.Sprintf("%d outputs are announced, %d words follow", outputs, len(words)))
		}
		for _, path := range words[:outputs] {
			packages = append(packages, pkg{path, active, priority})
		}
		words = words[outputs:]
	}
	return packages, nil
}

// profile is a tree of symlinks under way.
type profile struct {
	out        string
	log        io.Writer
	priorities map[string]int  // of the symlinks, by where they are
	done       map[string]bool // packages
}

// propagatedPriority is where the priorities of propagated packages begin.
const propagatedPriority = 1000

func (p *profile) addAll(packages []pkg) error {
	// The winners first, so that less has to be undone.
	slices.SortFunc(packages, func(a, b pkg) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.path, b.path))
	})
	var propagated []string
	for _, k := range packages {
		if !k.active {
			continue
		}
		more, err := p.add(k.path, k.priority)
		if err != nil {
			return err
		}
		propagated = append(propagated, more...)
	}
	priority := propagatedPriority
	for len(propagated) > 0 {
		slices.Sort(propagated)
		var next []string
		for _, path := range slices.Compact(propagated) {
			more, err := p.add(path, priority)
			if err != nil {
				return err
			}
			priority++
			next = append(next, more...)
		}
		propagated = next
	}
	return nil
}

// add links a package, unless that is done, and returns what it propagates.
func (p *profile) add(path string, priority int) ([]string, error) {
	if p.done[path] {
		return nil, nil
	}
	p.done[path] = true
	if err := p.link(path, p.out, priority); err != nil {
		return nil, err
	}
	text, err := readSmall(filepath.Join(path, "nix-support/propagated-user-env-packages"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	return slices.DeleteFunc(strings.Fields(text), func(path string) bool { return p.done[path] }), err
}

// readSmall reads a file of a package.
func readSmall(path string) (string, error) {
	const limit = 1 << 20
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && len(text) > limit {
		err = fmt.Errorf("'%s' is longer than %d bytes", path, limit)
	}
	return string(text), err
}
