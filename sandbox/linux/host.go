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
func enterHost(j *job) error {
	s := j.Spec
	if err := privateMounts(0); err != nil {
		return err
	}
	store, err := hostStore(j)
	if err != nil {
		return err
	}
	if err := protectObjects(s); err != nil {
		return err
	}
	if err := attach(store, unix.AT_FDCWD, s.StoreDir); err != nil {
		return setupError(sandbox.StageRoot, "move_mount", s.StoreDir, err)
	}
	if err := openPassage(s); err != nil {
		return err
	}
	return ownProcesses()
}

// hostStore makes what comes to lie over the store directory.
func hostStore(j *job) (int, error) {
	if !j.PlainStore {
		return newOverlay(j.Spec)
	}
	src := &sources{tmp: -1}
	if err := src.openStore(j.Spec); err != nil {
		return -1, err
	}
	for _, m := range j.Spec.Mounts {
		if _, ok := inStore(j.Spec, m); ok {
			if err := src.add(j.Spec, m); err != nil {
				return -1, err
			}
		}
	}
	return src.store, nil
}

// newOverlay mounts the overlay, attached nowhere. The layers are named by descriptors: a path could have characters that
// separate options, or be too long for one.
func newOverlay(s *sandbox.Spec) (int, error) {
	layers := [][2]string{{"lowerdir", s.ObjectDir}, {"upperdir", s.BuildStore}, {"workdir", overlayWork(s)}}
	for i, l := range layers {
		fd, err := unix.Open(l[1], unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, setupError(sandbox.StageInput, "open", l[1], err)
		}
		defer unix.Close(fd)
		layers[i][1] = descriptorPath(fd)
	}
	// What overlayfs notes about a file is in attributes that anybody may read and remove; and it follows no notes to
	// other files.
	options := append(layers, [2]string{"userxattr"}, [2]string{"redirect_dir", "nofollow"},
		[2]string{"index", "off"}, [2]string{"metacopy", "off"}, [2]string{"xino", "off"})
	fd, err := newFilesystem("overlay", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, options...)
	return fd, setupError(sandbox.StageRoot, opOverlay, s.StoreDir, err)
}

// protectObjects keeps the calling user's builder, who could write there, from the objects where they lie.
func protectObjects(s *sandbox.Spec) error {
	if s.ObjectDir == s.StoreDir {
		return nil // the overlay lies over them
	}
	fd, err := cloneTree(s.ObjectDir, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return setupError(sandbox.StageInput, "open_tree", s.ObjectDir, err)
	}
	defer unix.Close(fd)
	if err := restrict(fd, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID); err != nil {
		return setupError(sandbox.StageInput, "mount_setattr", s.ObjectDir, err)
	}
	return setupError(sandbox.StageInput, "move_mount", s.ObjectDir, attach(fd, unix.AT_FDCWD, s.ObjectDir))
}

// openPassage lets the build's user come to BuildDir by its path, and nobody else: over the first directory on the way that is
// closed to that user comes one in which there is nothing but the rest of the way.
func openPassage(s *sandbox.Spec) error {
	for i := 1; i < len(s.BuildDir); i++ {
		if s.BuildDir[i] != '/' {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(s.BuildDir[:i], &st); err != nil {
			return setupError(sandbox.StageInput, "stat", s.BuildDir[:i], err)
		}
		if !mayPass(s, &st) {
			return coverPassage(s, s.BuildDir[:i])
		}
	}
	return nil
}

// mayPass reports whether the build's user may pass through a directory.
func mayPass(s *sandbox.Spec, dir *unix.Stat_t) bool {
	switch gid := int(dir.Gid); {
	case s.HostUID == 0:
		return true
	case int(dir.Uid) == s.HostUID:
		return dir.Mode&0o100 != 0
	case gid == s.HostGID || slices.Contains(s.Groups, gid):
		return dir.Mode&0o010 != 0
	}
	return dir.Mode&0o001 != 0
}

func coverPassage(s *sandbox.Spec, closed string) error {
	build, err := cloneTree(s.BuildDir, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return setupError(sandbox.StageInput, "open_tree", s.BuildDir, err)
	}
	defer unix.Close(build)
	cover, err := newFilesystem("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, [2]string{"mode", "0711"})
	if err != nil {
		return setupError(sandbox.StageRoot, "mount tmpfs", closed, err)
	}
	defer unix.Close(cover)
	place, err := tree(cover).mkdirAll(s.BuildDir[len(closed):])
	if err != nil {
		return setupError(sandbox.StageRoot, "mkdir", s.BuildDir, err)
	}
	defer unix.Close(place)
	if err := attach(cover, unix.AT_FDCWD, closed); err != nil {
		return setupError(sandbox.StageRoot, "move_mount", closed, err)
	}
	return setupError(sandbox.StageRoot, "move_mount", s.BuildDir, attach(build, place, ""))
}

// ownProcesses mounts a /proc of this process namespace. Where none can be mounted, as in many containers, the host's stays, in
// which /proc/self is right and process ids are other ones.
func ownProcesses() error {
	fd, err := newFilesystem("proc", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err == unix.EPERM {
		return nil
	}
	if err != nil {
		return setupError(sandbox.StageRoot, "mount proc", "/proc", err)
	}
	defer unix.Close(fd)
	return setupError(sandbox.StageRoot, "move_mount", "/proc", attach(fd, unix.AT_FDCWD, "/proc"))
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
