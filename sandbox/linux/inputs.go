package linux

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// sources are the host's contributions to a sandbox, opened with the identity that the daemon has, and before the host's
// files are out of sight.
type sources struct {
	scratch int // BuildDir as the host has it: a place to attach the root to
	store   int // BuildStore, with the inputs of the store mounted in it already
	build   int // BuildDir
	tmp     int // TmpDir, or -1
	mounts  []source
}

// source is a mount that has its place outside the store directory.
type source struct {
	sandbox.Mount
	tree int    // -1: a symbolic link
	mode uint32 // of the file
	link string // where the symbolic link leads
}

// openSources makes a new mount namespace and opens what s asks for. Inputs in the store directory are mounted at
// once: they may be more than a process may have descriptors.
func openSources(s *sandbox.Spec) (*sources, error) {
	if err := privateMounts(unix.CLONE_NEWCGROUP); err != nil {
		return nil, err
	}
	src := &sources{tmp: -1}
	var err error
	if src.scratch, err = unix.Open(s.BuildDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return nil, setupError(sandbox.StageInput, "open", s.BuildDir, err)
	}
	if src.build, err = openWritable(s.BuildDir); err != nil {
		return nil, err
	}
	if s.TmpDir != "" {
		if src.tmp, err = openWritable(s.TmpDir); err != nil {
			return nil, err
		}
	}
	if err := src.openStore(s); err != nil {
		return nil, err
	}
	for _, m := range s.Mounts {
		if m.Target == "/proc" {
			continue
		}
		if err := src.add(s, m); err != nil {
			return nil, err
		}
	}
	return src, nil
}

// privateMounts makes a mount namespace of this process's own, and what other ones are asked for.
func privateMounts(others int) error {
	if err := unix.Unshare(unix.CLONE_NEWNS | others); err != nil {
		return setupError(sandbox.StageNamespaces, "unshare", "", err)
	}
	// Nothing that happens to the host's mounts from now on may come through, and nothing may go out.
	return setupError(sandbox.StageNamespaces, "mount MS_PRIVATE", "/", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
}

// openStore opens BuildStore, so that inputs can be mounted into it.
func (src *sources) openStore(s *sandbox.Spec) (err error) {
	if src.store, err = openWritable(s.BuildStore); err != nil {
		return err
	}
	// A mount can be attached only to one that is attached itself; the store moves on to its place later.
	return setupError(sandbox.StageInput, "move_mount", s.BuildStore, attach(src.store, unix.AT_FDCWD, s.BuildStore))
}

func openWritable(dir string) (int, error) {
	fd, err := cloneTree(dir, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return -1, setupError(sandbox.StageInput, "open_tree", dir, err)
	}
	if err := restrict(fd, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV); err != nil {
		return -1, setupError(sandbox.StageInput, "mount_setattr", dir, err)
	}
	return fd, nil
}

// add opens the source of m, and mounts it if it belongs into the store directory.
func (src *sources) add(s *sandbox.Spec, m sandbox.Mount) error {
	fd, err := cloneTree(m.Source, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		if err == unix.ENOENT && m.Optional {
			return nil
		}
		return setupError(sandbox.StageInput, "open_tree", m.Source, err)
	}
	opened := source{Mount: m, tree: fd}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return setupError(sandbox.StageInput, "fstat", m.Source, err)
	}
	opened.mode = st.Mode
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		if opened.link, err = readlink(fd, st.Size); err != nil {
			return setupError(sandbox.StageInput, "readlink", m.Source, err)
		}
		unix.Close(fd)
		opened.tree = -1
	} else if err := restrict(fd, restrictions(m)); err != nil {
		return setupError(sandbox.StageInput, "mount_setattr", m.Source, err)
	}
	if name, ok := inStore(s, m); ok {
		return opened.attach(src.store, name)
	}
	src.mounts = append(src.mounts, opened)
	return nil
}

// attach makes the source appear as name in dir, on the mount point that is there.
func (o source) attach(dir int, name string) error {
	if o.tree < 0 {
		return setupError(sandbox.StageInput, "symlink", o.Target, unix.Symlinkat(o.link, dir, name))
	}
	defer unix.Close(o.tree)
	return setupError(sandbox.StageInput, "move_mount", o.Target, attach(o.tree, dir, name))
}

func readlink(fd int, size int64) (string, error) {
	buf := make([]byte, size+1)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// inStore tells the name of m's target if that is an entry of the store directory.
func inStore(s *sandbox.Spec, m sandbox.Mount) (name string, ok bool) {
	name, ok = strings.CutPrefix(m.Target, s.StoreDir+"/")
	return name, ok && !strings.Contains(name, "/")
}

// replaced reports whether s mounts something of its own at p.
func replaced(s *sandbox.Spec, p string) bool {
	return slices.ContainsFunc(s.Mounts, func(m sandbox.Mount) bool { return m.Target == p })
}

func sortedByTarget(mounts []source) []source {
	slices.SortFunc(mounts, func(a, b source) int { return strings.Compare(a.Target, b.Target) })
	return mounts
}
