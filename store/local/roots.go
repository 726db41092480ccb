package local

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"larder/nar/tree"
	"larder/store"
)

// Root is a reason to keep a path and all it refers to.
type Root struct {
	Path store.StorePath
	// Link is the symlink (or, for a file in gcroots named after a path, the file) that is the root; TempRoot for one in memory.
	Link string
}

// TempRoot stands for the link of a root that is a process's and not on disk.
const TempRoot = "{temp}"

func (r Root) String() string { return r.Link + " -> " + r.Path.String() }

// The layout of roots is Nix's, so that its tools can make and read them. Below gcroots and profiles of the state directory,
// at any depth:
//
//	a symlink into the store            is a root
//	a symlink to a symlink into it      is an indirect root: the second belongs to a user, who may remove it
//	an empty file named after a path    is a root (gcroots only)
//
// gcroots/auto holds the indirect roots, each named after a hash of where it points.
const (
	rootsDir    = "gcroots"
	autoDir     = "auto"
	profilesDir = "profiles"
)

// Roots returns what keeps paths alive at the moment: links on disk, whose path is valid, and temp roots.
func (s *Store) Roots(ctx context.Context) ([]Root, error) {
	found, err := s.findRoots(ctx)
	if err != nil {
		return nil, err
	}
	roots := []Root{}
	for _, r := range found.roots {
		if _, ok, err := s.entry(s.db, r.Path); err != nil {
			return nil, err
		} else if ok {
			roots = append(roots, r)
		}
	}
	for _, p := range s.roots.list() {
		roots = append(roots, Root{Path: p, Link: TempRoot})
	}
	return roots, nil
}

// rootScan is a walk over the roots on disk.
type rootScan struct {
	s     *Store
	ctx   context.Context
	roots []Root
	stale []string // links in gcroots/auto whose user's link is gone
	seen  []Root   // indirect roots, to be remembered
}

func (s *Store) findRoots(ctx context.Context) (*rootScan, error) {
	scan := &rootScan{s: s, ctx: ctx}
	for _, dir := range []string{rootsDir, profilesDir} {
		if err := scan.dir(filepath.Join(s.stateDir, dir)); err != nil {
			return nil, err
		}
	}
	return scan, nil
}

func (w *rootScan) dir(dir string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir) // sorted
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for roots: %w", err)
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			err = w.dir(name)
		case e.Type() == os.ModeSymlink:
			err = w.link(name)
		case e.Type().IsRegular():
			if p, bad := store.ParseStorePath(e.Name()); bad == nil {
				w.roots = append(w.roots, Root{Path: p, Link: name})
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// link looks at a symlink below gcroots or profiles. Nothing is followed but by reading links: a user can't make us look at
// anything with their own.
func (w *rootScan) link(name string) error {
	target, err := os.Readlink(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil // gone since
	}
	if err != nil {
		return fmt.Errorf("looking for roots: %w", err)
	}
	target = absolute(target, name)
	if p, _, err := w.s.dir.Split(target); err == nil {
		w.roots = append(w.roots, Root{Path: p, Link: name})
		return nil
	}
	second, err := os.Readlink(target)
	switch {
	case errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR):
		if filepath.Dir(name) == filepath.Join(w.s.stateDir, rootsDir, autoDir) {
			w.stale = append(w.stale, name)
		}
		return nil
	case errors.Is(err, unix.EINVAL):
		return nil // no symlink
	case err != nil:
		return w.unreadable(target, err)
	}
	if p, _, err := w.s.dir.Split(absolute(second, target)); err == nil {
		r := Root{Path: p, Link: target}
		w.roots = append(w.roots, r)
		w.seen = append(w.seen, r)
	}
	return nil
}

// unreadable decides what a link means that can't be read at the moment, on a file system that is away, say: what it meant when it
// was last read. To take it for gone would delete what its owner relies on.
func (w *rootScan) unreadable(target string, failure error) error {
	p, err := w.s.rememberedRoot(target)
	if err != nil {
		return err
	}
	if p.IsZero() {
		return fmt.Errorf("the root %s can't be read, and what it kept is not known: make it readable, or remove the link to it in %s: %w",
			target, filepath.Join(w.s.stateDir, rootsDir, autoDir), failure)
	}
	w.s.log.Warn("a root can't be read, its last target is kept", "link", target, "path", p, "err", failure)
	w.roots = append(w.roots, Root{Path: p, Link: target})
	return nil
}

func absolute(target, link string) string {
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(link), target)
	}
	return filepath.Clean(target)
}

// autoLink is the name that an indirect root has in gcroots/auto.
func (s *Store) autoLink(link string) string {
	sum := sha1.Sum([]byte(link))
	return filepath.Join(s.stateDir, rootsDir, autoDir, store.EncodeNix32(sum[:]))
}

// AddIndirectRoot makes the symlink at an absolute path, which points into the store or will, a root for as long as it does.
// Keep a temp root on the target until it is done.
func (s *Store) AddIndirectRoot(ctx context.Context, link string) error {
	if err := s.checkRoot(ctx, link); err != nil {
		return err
	}
	if err := replaceSymlink(link, s.autoLink(link)); err != nil {
		return fmt.Errorf("making %s a root: %w", link, err)
	}
	target, err := os.Readlink(link)
	if err != nil {
		return nil // not there yet
	}
	if p, _, err := s.dir.Split(absolute(target, link)); err == nil {
		return s.rememberRoots([]Root{{Path: p, Link: link}})
	}
	return nil
}

// AddPermanentRoot makes a symlink at an absolute path to a valid path, and registers it as a root: directly below gcroots or
// profiles of the state directory, indirectly elsewhere. What is there already is replaced only if it is a symlink into the
// store.
func (s *Store) AddPermanentRoot(ctx context.Context, link string, p store.StorePath) error {
	if err := s.checkRoot(ctx, link); err != nil {
		return err
	}
	defer s.AddTempRoot(p)()
	if _, err := s.validEntry(s.db, "make a root of", p); err != nil {
		return err
	}
	if _, _, err := s.dir.Split(link); err == nil {
		return fmt.Errorf("making %s a root: it lies in the store itself", link)
	}
	old, err := os.Readlink(link)
	if err == nil {
		_, _, err = s.dir.Split(absolute(old, link))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("making %s a root: it exists and is not a symlink into the store", link)
	}
	if err := replaceSymlink(s.dir.Join(p), link); err != nil {
		return fmt.Errorf("making %s a root: %w", link, err)
	}
	for _, dir := range []string{rootsDir, profilesDir} {
		if strings.HasPrefix(link, filepath.Join(s.stateDir, dir)+"/") {
			return nil
		}
	}
	return s.AddIndirectRoot(ctx, link)
}

func (s *Store) checkRoot(ctx context.Context, link string) error {
	if err := s.writable(); err != nil {
		return err
	}
	if !filepath.IsAbs(link) || filepath.Clean(link) != link {
		return fmt.Errorf("making %q a root: expected a clean absolute path", link)
	}
	return ctx.Err()
}

// replaceSymlink makes link point to target, atomically and durably.
func replaceSymlink(target, link string) error {
	dir, err := os.Open(filepath.Dir(link))
	if err != nil {
		return err
	}
	defer dir.Close()
	temp := fmt.Sprintf("%s%d-%s", TempPrefix, os.Getpid(), filepath.Base(link))
	fd := int(dir.Fd())
	if err := tree.UnlinkAt(fd, temp, 0); err != nil && err != unix.ENOENT {
		return &os.PathError{Op: "unlink", Path: filepath.Join(dir.Name(), temp), Err: err}
	}
	if err := unix.Symlinkat(target, fd, temp); err != nil {
		return &os.PathError{Op: "symlink", Path: filepath.Join(dir.Name(), temp), Err: err}
	}
	if err := unix.Renameat(fd, temp, fd, filepath.Base(link)); err != nil {
		return errors.Join(&os.PathError{Op: "rename", Path: link, Err: err}, tree.UnlinkAt(fd, temp, 0))
	}
	return dir.Sync()
}
