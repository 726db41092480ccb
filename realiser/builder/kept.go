package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"larder/nar/tree"
	"larder/realiser/userpool"
	"larder/store"
)

// letThrough lets others pass through our directory to what was given to them. What is not
// for them is closed itself.
func letThrough(dir string) error {
	st, err := os.Stat(dir)
	if err != nil || os.Geteuid() != 0 || st.Mode()&0o011 == 0o011 {
		return err
	}
	return os.Chmod(dir, st.Mode()|0o011)
}

// retain makes of the directories of a build such as are kept, with a place for
// outputs. The builder's user may pass through; others not, because what a builder
// left may be programs that become its user.
func (s *scratch) retain(user userpool.Identity) error {
	if s.retained {
		return nil
	}
	kept := filepath.Join(filepath.Dir(s.dir), keptPrefix+strings.TrimPrefix(filepath.Base(s.dir), scratchPrefix))
	if err := os.Rename(s.dir, kept); err != nil {
		return err
	}
	s.retained = true
	s.dir, s.build, s.tmp, s.outputs = kept, filepath.Join(kept, "build"), filepath.Join(kept, "tmp"), filepath.Join(kept, "outputs")
	err := os.Mkdir(s.outputs, 0o755)
	if user.UID != userpool.CallingUser {
		err = errors.Join(err, os.Chown(s.dir, -1, user.GID), os.Chmod(s.dir, 0o710))
	}
	return err
}

// save moves an output here, if it is there.
func (s *scratch) save(ctx context.Context, from, name string) error {
	moved, err := moveTree(ctx, from, filepath.Join(s.outputs, name))
	s.hasOutputs = s.hasOutputs || moved
	return err
}

// give leaves what was retained to its new owner. Without the build directory only
// the outputs stay.
func (s *scratch) give(to store.Caller, builder userpool.Identity, withBuild bool) error {
	defer s.lock.Close()
	remove := []string{s.tmp}
	if !withBuild {
		remove = append(remove, s.build)
	}
	if !s.hasOutputs {
		remove = append(remove, s.outputs)
	}
	var errs []error
	for _, dir := range remove {
		errs = append(errs, tree.Remove(context.Background(), dir))
	}
	// Nobody gets in before all is settled. What the new owner moved there meanwhile could be somebody else's.
	errs = append(errs, os.Chmod(s.dir, 0o700))
	entries, err := os.ReadDir(s.dir)
	errs = append(errs, err)
	g := giver{to: to, builder: builder, root: os.Geteuid() == 0}
	for _, e := range entries {
		errs = append(errs, g.give(filepath.Join(s.dir, e.Name())))
	}
	if g.root {
		errs = append(errs, os.Lchown(s.dir, int(to.UID), int(to.GID)))
	}
	return errors.Join(errs...)
}

// giver walks a tree that a builder left, by descriptor, and gives to somebody what was
// the builder's. Programs of the builder do not become programs of the new owner:
// the bits that say so are taken away.
type giver struct {
	to      store.Caller
	builder userpool.Identity
	root    bool // owners can be changed
}

func (g *giver) give(dir string) error {
	var dirs tree.Stack
	defer dirs.Close()
	var todo [][]string
	enter := func(in int, name string) error {
		fd, err := g.settle(in, name)
		if err != nil || fd < 0 {
			return err
		}
		names, err := tree.ReadNames(fd)
		if err != nil {
			unix.Close(fd)
			return err
		}
		todo = append(todo, names)
		return dirs.Push(fd)
	}
	if err := enter(unix.AT_FDCWD, dir); err != nil {
		return fmt.Errorf("giving away %s: %w", dir, err)
	}
	for len(todo) > 0 {
		top := &todo[len(todo)-1]
		var err error
		if len(*top) == 0 {
			todo = todo[:len(todo)-1]
			err = dirs.Pop()
		} else {
			name := (*top)[0]
			*top = (*top)[1:]
			err = enter(dirs.Top(), name)
		}
		if err != nil {
			return fmt.Errorf("giving away %s: %w", dir, err)
		}
	}
	return nil
}

// settle gives one file away. Of a directory it returns a descriptor to read it.
func (g *giver) settle(in int, name string) (dir int, err error) {
	fd, err := tree.OpenAt(in, name, tree.PathFlags, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := tree.Fstat(fd, &st); err != nil {
		return -1, err
	}
	kind := st.Mode & unix.S_IFMT
	if !g.mayGive(&st) {
		return -1, nil
	}
	if g.root {
		err := tree.Retry(func() error {
			return unix.Fchownat(fd, "", int(g.to.UID), int(g.to.GID), unix.AT_EMPTY_PATH)
		})
		if err != nil {
			return -1, err
		}
	}
	if kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return -1, nil
	}
	mode := st.Mode&0o777 | 0o400
	if kind == unix.S_IFDIR {
		mode |= 0o700
	}
	if err := tree.Retry(func() error { return unix.Chmod(tree.ProcPath(fd), mode) }); err != nil || kind != unix.S_IFDIR {
		return -1, err
	}
	return tree.OpenAt(fd, ".", tree.DirFlags, 0)
}

// mayGive tells whether a file is the builder's or made by us from what was. Without a
// chroot a builder can make links to files of others.
func (g *giver) mayGive(st *unix.Stat_t) bool {
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return true
	}
	first, n := int64(g.builder.UID), int64(max(g.builder.Count, 1))
	if uid := int64(st.Uid); uid >= first && uid < first+n {
		return true
	}
	return st.Uid == uint32(os.Geteuid()) && st.Nlink == 1
}
