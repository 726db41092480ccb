package linux

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// sources are the host's contributions to a sandbox, opened with the identity that the daemon has, and before the host's
// files are out of sight.
type sources struct {
	scratch slot // BuildDir as the host has it: a place to attach the root to
	store   slot // BuildStore, with the inputs of the store mounted in it already
	build   slot // BuildDir
	tmp     slot // TmpDir, if there is one
	mounts  []source
}

// source is a mount that has its place outside the store directory.
type source struct {
	sandbox.Mount
	tree slot   // but for a symbolic link
	mode uint32 // of the file
	link string // where the symbolic link leads
}

func (s *source) isLink() bool { return s.mode&unix.S_IFMT == unix.S_IFLNK }

// privateMounts makes a mount namespace, and what other ones are asked for. Nothing that happens to the host's mounts from now on
// may come through, and nothing may go out.
func (p *program) privateMounts(others int) {
	p.call(step{sandbox.StageNamespaces, "unshare", ""}, unix.SYS_UNSHARE, unix.CLONE_NEWNS|others)
	p.call(step{sandbox.StageNamespaces, "mount MS_PRIVATE", "/"}, unix.SYS_MOUNT, "", "/", none, unix.MS_REC|unix.MS_PRIVATE, none)
}

// openSources opens what s asks for. Inputs in the store directory are mounted at once: they may be more than a process may
// have descriptors.
func (p *program) openSources(s *sandbox.Spec) (*sources, error) {
	src := &sources{scratch: p.directory(sandbox.StageInput, s.BuildDir), build: p.openWritable(s.BuildDir)}
	if s.TmpDir != "" {
		src.tmp = p.openWritable(s.TmpDir)
	}
	src.store = p.openStore(s)
	for _, m := range s.Mounts {
		if m.Target == "/proc" {
			continue
		}
		o, err := p.openSource(m)
		if err != nil {
			return nil, err
		}
		if o == nil {
			continue
		}
		if name, ok := inStore(s, m); ok {
			p.attachSource(o, src.store, name)
		} else {
			src.mounts = append(src.mounts, *o)
		}
	}
	return src, nil
}

// openStore opens BuildStore and attaches it where it is: a mount can be attached only to one that is attached itself. The store
// moves on to its place later.
func (p *program) openStore(s *sandbox.Spec) slot {
	store := p.openWritable(s.BuildStore)
	p.attach(sandbox.StageInput, s.BuildStore, store, unix.AT_FDCWD, s.BuildStore)
	return store
}

func (p *program) openWritable(dir string) slot {
	fd := p.cloneTree(sandbox.StageInput, dir, unix.AT_SYMLINK_NOFOLLOW)
	p.restrict(sandbox.StageInput, dir, fd, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	return fd
}

// openSource opens the source of m. It is nil if it may be absent, and is.
func (p *program) openSource(m sandbox.Mount) (*source, error) {
	var st unix.Stat_t
	if err := unix.Lstat(m.Source, &st); err == unix.ENOENT && m.Optional {
		return nil, nil
	} else if err != nil {
		return nil, setupError(sandbox.StageInput, "lstat", m.Source, err)
	}
	o := &source{Mount: m, mode: st.Mode}
	if o.isLink() {
		var err error
		o.link, err = os.Readlink(m.Source)
		return o, setupError(sandbox.StageInput, "readlink", m.Source, err)
	}
	o.tree = p.cloneTree(sandbox.StageInput, m.Source, unix.AT_SYMLINK_NOFOLLOW)
	p.restrict(sandbox.StageInput, m.Source, o.tree, restrictions(m))
	return o, nil
}

// attachSource makes the source appear as name in dir, on the mount point that is there.
func (p *program) attachSource(o *source, dir slot, name string) {
	if o.isLink() {
		p.call(step{sandbox.StageInput, "symlink", o.Target}, unix.SYS_SYMLINKAT, o.link, dir, name)
		return
	}
	p.attach(sandbox.StageInput, o.Target, o.tree, dir, name)
	p.close(o.tree)
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
