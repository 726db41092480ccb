package linux

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// enterRoot builds the root directory from src and makes it this process's own; the host's files are out of reach then.
func enterRoot(j *job, src *sources) error {
	s := j.Spec
	root, err := newFilesystem("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, [2]string{"mode", "0755"})
	if err != nil {
		return setupError(sandbox.StageRoot, "mount tmpfs", "/", err)
	}
	if err := attach(root, src.scratch, ""); err != nil {
		return setupError(sandbox.StageRoot, "move_mount", "/", err)
	}
	b := rootBuilder{root: tree(root)}
	b.etc(s)
	if !replaced(s, "/dev") {
		b.dev(s)
	}
	b.proc(j)
	if s.UIDCount > 1 {
		b.filesystem("sysfs", "/sys", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	}
	b.tmp(src.tmp)
	b.attachDir(src.store, s.StoreDir)
	b.attachDir(src.build, s.InsideDir())
	// A mount may lie below another: parents first, so in the order of their names.
	for _, m := range sortedByTarget(src.mounts) {
		b.mount(m)
	}
	if b.err != nil {
		return b.err
	}
	// pivot_root(2) tells of this use of it: the old root comes to lie over the new one, and is taken away.
	if err := unix.Fchdir(root); err != nil {
		return setupError(sandbox.StageRoot, "fchdir", "/", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return setupError(sandbox.StageRoot, "pivot_root", "/", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return setupError(sandbox.StageRoot, "umount", "/", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return setupError(sandbox.StageRoot, "chdir", "/", err)
	}
	// Only the root itself: what is mounted in it has its own attributes.
	err = unix.MountSetattr(root, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	return setupError(sandbox.StageRoot, "mount_setattr", "/", err)
}

// rootBuilder makes a root directory. After the first error its methods do nothing.
type rootBuilder struct {
	root tree
	err  error
}

func (b *rootBuilder) check(op, p string, err error) bool {
	if b.err == nil {
		b.err = setupError(sandbox.StageRoot, op, p, err)
	}
	return b.err == nil
}

func (b *rootBuilder) dir(p string) {
	if b.err == nil {
		fd, err := b.root.mkdirAll(p)
		if b.check("mkdir", p, err) {
			unix.Close(fd)
		}
	}
}

func (b *rootBuilder) file(p, content string) {
	if b.err == nil {
		b.check("write", p, b.root.writeFile(p, content))
	}
}

func (b *rootBuilder) symlink(target, p string) {
	if b.err == nil {
		b.check("symlink", p, unix.Symlinkat(target, int(b.root), p[1:]))
	}
}

// attachDir attaches a mount of a directory at p.
func (b *rootBuilder) attachDir(tree int, p string) {
	if b.err != nil {
		return
	}
	fd, err := b.root.mkdirAll(p)
	if b.check("mkdir", p, err) {
		b.check("move_mount", p, attach(tree, fd, ""))
		unix.Close(fd)
		unix.Close(tree)
	}
}

func (b *rootBuilder) filesystem(kind, p string, attributes int, options ...[2]string) {
	if b.err != nil {
		return
	}
	fd, err := newFilesystem(kind, attributes, options...)
	if b.check("mount "+kind, p, err) {
		b.attachDir(fd, p)
	}
}

// bind shows a file of the host at the same place. Symbolic links lead to it: these are well-known names.
func (b *rootBuilder) bind(p string, attributes uint64, optional bool) {
	if b.err != nil {
		return
	}
	fd, err := cloneTree(p, 0)
	if err == unix.ENOENT && optional {
		return
	}
	if !b.check("open_tree", p, err) {
		return
	}
	defer unix.Close(fd)
	b.dir(path.Dir(p))
	if b.check("mount_setattr", p, restrict(fd, attributes)) &&
		b.check("mknod", p, mountPoint(int(b.root), p[1:], unix.S_IFREG, false)) {
		b.check("move_mount", p, attach(fd, int(b.root), p[1:]))
	}
}

// mount puts a source where the Spec wants it.
func (b *rootBuilder) mount(m source) {
	if b.err != nil {
		return
	}
	fd, err := b.root.mkdirAll(path.Dir(m.Target))
	if err != nil {
		b.err = setupError(sandbox.StageInput, "mkdir", path.Dir(m.Target), err)
		return
	}
	defer unix.Close(fd)
	if m.tree >= 0 {
		if err := mountPoint(fd, path.Base(m.Target), m.mode, false); err != nil {
			b.err = setupError(sandbox.StageInput, "mount point", m.Target, err)
			return
		}
	}
	b.err = m.attach(fd, path.Base(m.Target))
}

func (b *rootBuilder) tmp(tree int) {
	if tree >= 0 {
		b.attachDir(tree, "/tmp")
		return
	}
	b.filesystem("tmpfs", "/tmp", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, [2]string{"mode", "1777"})
}

func (b *rootBuilder) etc(s *sandbox.Spec) {
	b.dir("/etc")
	home := s.InsideDir()
	b.file("/etc/passwd", fmt.Sprintf(
		"root:x:0:0:Nix build user:%s:/noshell\nnixbld:x:%d:%d:Nix build user:%s:/noshell\nnobody:x:65534:65534:Nobody:/:/noshell\n",
		home, s.UID, s.GID, home))
	b.file("/etc/group", fmt.Sprintf("root:x:0:\nnixbld:!:%d:\nnogroup:x:65534:\n", s.GID))
	if !s.Network {
		b.file("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
		return
	}
	// Hosts and services are looked up the plain way; users and groups of the host are none of the builder's business.
	b.file("/etc/nsswitch.conf", "hosts: files dns\nservices: files\n")
	for _, p := range []string{"/etc/hosts", "/etc/resolv.conf", "/etc/services"} {
		b.bind(p, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, true)
	}
	// The C library asks it, if it is there, before it looks for a resolver itself.
	b.bind("/var/run/nscd/socket", unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, true)
}

func (b *rootBuilder) dev(s *sandbox.Spec) {
	b.dir("/dev")
	// A user namespace can make no device nodes, so they are the host's.
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		b.bind("/dev/"+name, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, false)
	}
	b.symlink("/proc/self/fd", "/dev/fd")
	for fd, name := range []string{"stdin", "stdout", "stderr"} {
		b.symlink(fmt.Sprintf("/proc/self/fd/%d", fd), "/dev/"+name)
	}
	b.symlink("pts/ptmx", "/dev/ptmx")
	if !replaced(s, "/dev/pts") {
		b.filesystem("devpts", "/dev/pts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC,
			[2]string{"ptmxmode", "0666"}, [2]string{"mode", "0620"})
	}
	shm := [][2]string{{"mode", "1777"}}
	if s.DevShmSize != "" {
		shm = append(shm, [2]string{"size", s.DevShmSize})
	}
	b.filesystem("tmpfs", "/dev/shm", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, shm...)
}

// hostControls are files of /proc by which the host's root steers the machine. The kernel asks most of them only for
// the user id, not for a capability.
var hostControls = []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/proc/scsi", "/proc/mtrr"}

func (b *rootBuilder) proc(j *job) {
	b.filesystem("proc", "/proc", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if !j.HostRoot {
		// Left as it is: with mounts in it, a builder could not make sandboxes of its own, as test suites do.
		return
	}
	for _, p := range hostControls {
		b.protect(p)
	}
}

// protect makes what is at p read-only.
func (b *rootBuilder) protect(p string) {
	if b.err != nil {
		return
	}
	fd, err := unix.OpenTree(int(b.root), p[1:], unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT {
		return
	}
	if !b.check("open_tree", p, err) {
		return
	}
	defer unix.Close(fd)
	if b.check("mount_setattr", p, restrict(fd, unix.MOUNT_ATTR_RDONLY)) {
		b.check("move_mount", p, attach(fd, int(b.root), p[1:]))
	}
}
