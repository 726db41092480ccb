package linux

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// Without chroot (Spec.NoChroot) a builder has the host's files. Its mount namespace differs from the host's in four places:
//
//	StoreDir            an overlay: ObjectDir below, and BuildStore on top, where all that is written goes
//	ObjectDir           read-only, if it is another directory
//	the way to BuildDir if the build's user may not go it: a directory with nothing in it but BuildDir
//	/proc               that of the build's own process namespace, so that process ids there are what getpid(2) says
//
// Where the kernel or a file system refuses the overlay, StoreDir is BuildStore with the Spec's inputs mounted into it, as
// it is for all other builds. See docs/decisions/0052.

// opOverlay tells the error after which another overlay need not be tried.
const opOverlay = "mount overlay"

func overlayRefused(err error) bool {
	var setup *sandbox.SetupError
	return errors.As(err, &setup) && setup.Op == opOverlay
}

// overlayWork is the directory that overlayfs wants beside the upper one; what it has there is nobody else's business.
func overlayWork(s *sandbox.Spec) string { return s.BuildStore + ".work" }

// enterHost makes that mount namespace.
func (p *program) enterHost(j *job) error {
	s := j.Spec
	p.privateMounts(0)
	store, err := p.hostStore(j)
	if err != nil {
		return err
	}
	p.protectObjects(s)
	p.attach(sandbox.StageRoot, s.StoreDir, store, unix.AT_FDCWD, s.StoreDir)
	if err := p.openPassage(s); err != nil {
		return err
	}
	p.ownProcesses()
	return nil
}

// hostStore makes what comes to lie over the store directory.
func (p *program) hostStore(j *job) (slot, error) {
	if !j.PlainStore {
		return p.overlay(j.Spec), nil
	}
	store := p.openStore(j.Spec)
	for _, m := range j.Spec.Mounts {
		name, ok := inStore(j.Spec, m)
		if !ok {
			continue
		}
		o, err := p.openSource(m)
		if err != nil {
			return 0, err
		}
		if o != nil {
			p.attachSource(o, store, name)
		}
	}
	return store, nil
}

// overlay mounts the overlay, attached nowhere. The layers are named by descriptors: a path could have characters that
// separate options, or be too long for one.
func (p *program) overlay(s *sandbox.Spec) slot {
	layers := [][2]string{{"lowerdir", s.ObjectDir}, {"upperdir", s.BuildStore}, {"workdir", overlayWork(s)}}
	for i, l := range layers {
		fd := p.directory(sandbox.StageInput, l[1])
		layers[i][1] = p.renumber(fd, firstNumbered+i)
	}
	// What overlayfs notes about a file is in attributes that anybody may read and remove; and it follows no notes to
	// other files.
	options := append(layers, [2]string{"userxattr"}, [2]string{"redirect_dir", "nofollow"},
		[2]string{"index", "off"}, [2]string{"metacopy", "off"}, [2]string{"xino", "off"})
	fd := p.filesystem("overlay", s.StoreDir, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, options...)
	for i := range layers {
		p.call(step{sandbox.StageLaunch, "close", ""}, unix.SYS_CLOSE, firstNumbered+i)
	}
	return fd
}

// protectObjects keeps the calling user's builder, who could write there, from the objects where they lie.
func (p *program) protectObjects(s *sandbox.Spec) {
	if s.ObjectDir == s.StoreDir {
		return // the overlay lies over them
	}
	fd := p.cloneTree(sandbox.StageInput, s.ObjectDir, unix.AT_SYMLINK_NOFOLLOW)
	p.restrict(sandbox.StageInput, s.ObjectDir, fd, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID)
	p.attach(sandbox.StageInput, s.ObjectDir, fd, unix.AT_FDCWD, s.ObjectDir)
	p.close(fd)
}

// openPassage lets the build's user come to BuildDir by its path, and nobody else: over the first directory on the way that is
// closed to that user comes one in which there is nothing but the rest of the way.
func (p *program) openPassage(s *sandbox.Spec) error {
	for i := 1; i < len(s.BuildDir); i++ {
		if s.BuildDir[i] != '/' {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(s.BuildDir[:i], &st); err != nil {
			return setupError(sandbox.StageInput, "stat", s.BuildDir[:i], err)
		}
		if !mayPass(s, &st) {
			p.coverPassage(s, s.BuildDir[:i])
			return nil
		}
	}
	return nil
}

// mayPass reports whether the build's user may pass through a directory.
func mayPass(s *sandbox.Spec, dir *unix.Stat_t) bool {
	switch gid := int(dir.Gid); {
	case int(dir.Uid) == s.HostUID:
		return dir.Mode&0o100 != 0
	case gid == s.HostGID || slices.Contains(s.Groups, gid):
		return dir.Mode&0o010 != 0
	}
	return dir.Mode&0o001 != 0
}

func (p *program) coverPassage(s *sandbox.Spec, closed string) {
	build := p.cloneTree(sandbox.StageInput, s.BuildDir, unix.AT_SYMLINK_NOFOLLOW)
	cover := p.filesystem("tmpfs", closed, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, [2]string{"mode", "0711"})
	place := newTree(p, cover).openMade(sandbox.StageRoot, s.BuildDir[len(closed):])
	p.attach(sandbox.StageRoot, closed, cover, unix.AT_FDCWD, closed)
	p.attach(sandbox.StageRoot, s.BuildDir, build, place, "")
	for _, fd := range []slot{build, cover, place} {
		p.close(fd)
	}
}

// ownProcesses mounts a /proc of this process namespace. Where none can be mounted, as in many containers, the host's stays, in
// which /proc/self is right and process ids are other ones.
func (p *program) ownProcesses() {
	s := step{sandbox.StageRoot, "mount proc", "/proc"}
	fs := p.open(s, unix.SYS_FSOPEN, "proc", unix.FSOPEN_CLOEXEC)
	p.call(s, unix.SYS_FSCONFIG, fs, unix.FSCONFIG_CMD_CREATE, none, none, 0)
	p.unless(unix.EPERM, func() {
		fd := p.open(s, unix.SYS_FSMOUNT, fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
		p.unless(unix.EPERM, func() {
			p.attach(sandbox.StageRoot, "/proc", fd, unix.AT_FDCWD, "/proc")
			p.close(fd)
		})
	})
	p.close(fs)
}

// homeless is the HOME of builders. Without chroot they would find it if it were there.
const homeless = "/homeless-shelter"

func checkHomeless(home string) error {
	if _, err := os.Lstat(home); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return setupError(sandbox.StageRoot, "", "",
		errors.New("home directory '"+home+"' exists; please remove it to assure purity of builds without sandboxing"))
}

// layers are what Runner prepares for a build without chroot, on the host.
type layers struct {
	spec  *sandbox.Spec
	store int // BuildStore
}

// prepareLayers makes the work directory of the overlay, and hides what the Spec says. The layers are to be released even if
// there is an error.
func prepareLayers(s *sandbox.Spec) (*layers, error) {
	store, err := unix.Open(s.BuildStore, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, setupError(sandbox.StageInput, "open", s.BuildStore, err)
	}
	l := &layers{spec: s, store: store}
	if err := os.Mkdir(overlayWork(s), 0o700); err != nil {
		return l, setupError(sandbox.StageInput, "mkdir", overlayWork(s), err)
	}
	for _, name := range s.Absent {
		var st unix.Stat_t
		if unix.Lstat(path.Join(s.ObjectDir, name), &st) != nil {
			continue
		}
		// A whiteout, as overlayfs has them; everybody may make one.
		if err := unix.Mknodat(store, name, unix.S_IFCHR, 0); err != nil {
			return l, setupError(sandbox.StageInput, "whiteout", path.Join(s.BuildStore, name), err)
		}
	}
	return l, nil
}

// release removes what was prepared, and what overlayfs left of it: a builder that removed what it had made, or an object, left a whiteout.
func (l *layers) release() {
	if l == nil {
		return
	}
	work := overlayWork(l.spec)
	_ = os.Chmod(path.Join(work, "work"), 0o700) // overlayfs makes it with no rights at all
	_ = os.RemoveAll(work)
	for _, name := range l.spec.Absent {
		var st unix.Stat_t
		if unix.Fstatat(l.store, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
			_ = unix.Unlinkat(l.store, name, 0)
		}
	}
	unix.Close(l.store)
}
