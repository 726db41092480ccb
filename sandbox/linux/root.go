package linux

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// enterRoot builds the root directory from src and makes it the process's own; the host's files are out of reach then.
func (p *program) enterRoot(j *job, src *sources) {
	s := j.Spec
	root := p.filesystem("tmpfs", "/", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, [2]string{"mode", "0755"})
	p.attach(sandbox.StageRoot, "/", root, src.scratch, "")
	b := rootBuilder{newTree(p, root)}
	b.etc(s)
	if !replaced(s, "/dev") {
		b.dev(s)
	}
	b.proc(j)
	if s.UIDCount > 1 {
		b.mountNew("sysfs", "/sys", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	}
	b.tmp(s, src)
	b.attachDir(src.store, s.StoreDir)
	b.attachDir(src.build, s.InsideDir())
	// A mount may lie below another: parents first, so in the order of their names.
	for _, m := range sortedByTarget(src.mounts) {
		b.mount(m)
	}
	// pivot_root(2) tells of this use of it: the old root comes to lie over the new one, and is taken away.
	p.call(step{sandbox.StageRoot, "fchdir", "/"}, unix.SYS_FCHDIR, root)
	p.call(step{sandbox.StageRoot, "pivot_root", "/"}, unix.SYS_PIVOT_ROOT, ".", ".")
	p.call(step{sandbox.StageRoot, "umount", "/"}, unix.SYS_UMOUNT2, ".", unix.MNT_DETACH)
	p.call(step{sandbox.StageRoot, "chdir", "/"}, unix.SYS_CHDIR, "/")
	// Only the root itself: what is mounted in it has its own attributes.
	p.setAttributes(sandbox.StageRoot, "/", root, unix.MOUNT_ATTR_RDONLY, unix.AT_EMPTY_PATH)
}

// rootBuilder makes a root directory.
type rootBuilder struct{ *tree }

func (b rootBuilder) dir(name string) { b.mkdirAll(sandbox.StageRoot, name) }

// attachDir attaches a mount of a directory at dir.
func (b rootBuilder) attachDir(mounted slot, dir string) {
	fd := b.openMade(sandbox.StageRoot, dir)
	b.attach(sandbox.StageRoot, dir, mounted, fd, "")
	b.close(fd)
	b.close(mounted)
}

func (b rootBuilder) mountNew(kind, dir string, attributes int, options ...[2]string) {
	b.attachDir(b.filesystem(kind, dir, attributes, options...), dir)
}

// bind shows a file of the host at the same place. Symbolic links lead to it: these are well-known names.
func (b rootBuilder) bind(name string, attributes uint64, optional bool) {
	b.dir(path.Dir(name))
	fd := b.cloneTree(sandbox.StageRoot, name, 0)
	show := func() {
		b.restrict(sandbox.StageRoot, name, fd, attributes)
		b.mountPoint(sandbox.StageRoot, name, b.root, inside(name), unix.S_IFREG, false)
		b.attach(sandbox.StageRoot, name, fd, b.root, inside(name))
		b.close(fd)
	}
	if optional {
		b.unless(unix.ENOENT, show)
	} else {
		show()
	}
}

// mount puts a source where the Spec wants it.
func (b rootBuilder) mount(m source) {
	fd := b.openMade(sandbox.StageInput, path.Dir(m.Target))
	if !m.isLink() {
		b.mountPoint(sandbox.StageInput, m.Target, fd, path.Base(m.Target), m.mode, false)
	}
	b.attachSource(&m, fd, path.Base(m.Target))
	b.close(fd)
}

func (b rootBuilder) tmp(s *sandbox.Spec, src *sources) {
	if s.TmpDir != "" {
		b.attachDir(src.tmp, "/tmp")
		return
	}
	b.mountNew("tmpfs", "/tmp", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, [2]string{"mode", "1777"})
}

func (b rootBuilder) etc(s *sandbox.Spec) {
	b.dir("/etc")
	home := s.InsideDir()
	b.writeFile("/etc/passwd", fmt.Sprintf(
		"root:x:0:0:Nix build user:%s:/noshell\nnixbld:x:%d:%d:Nix build user:%s:/noshell\nnobody:x:65534:65534:Nobody:/:/noshell\n",
		home, s.UID, s.GID, home))
	b.writeFile("/etc/group", fmt.Sprintf("root:x:0:\nnixbld:!:%d:\nnogroup:x:65534:\n", s.GID))
	if !s.Network {
		b.writeFile("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
		return
	}
	// Hosts and services are looked up the plain way; users and groups of the host are none of the builder's business.
	b.writeFile("/etc/nsswitch.conf", "hosts: files dns\nservices: files\n")
	for _, p := range []string{"/etc/hosts", "/etc/resolv.conf", "/etc/services"} {
		b.bind(p, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, true)
	}
	// The C library asks it, if it is there, before it looks for a resolver itself.
	b.bind("/var/run/nscd/socket", unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, true)
}

func (b rootBuilder) dev(s *sandbox.Spec) {
	b.dir("/dev")
	// A user namespace can make no device nodes, so they are the host's. Read-only is what their modes and owners are, which a builder
	// with the host's root's user id could change for everybody; devices can be written to all the same.
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		b.bind("/dev/"+name, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, false)
	}
	b.symlink("/proc/self/fd", "/dev/fd")
	for fd, name := range []string{"stdin", "stdout", "stderr"} {
		b.symlink(fmt.Sprintf("/proc/self/fd/%d", fd), "/dev/"+name)
	}
	b.symlink("pts/ptmx", "/dev/ptmx")
	if !replaced(s, "/dev/pts") {
		b.mountNew("devpts", "/dev/pts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC,
			[2]string{"ptmxmode", "0666"}, [2]string{"mode", "0620"})
	}
	shm := [][2]string{{"mode", "1777"}}
	if s.DevShmSize != "" {
		shm = append(shm, [2]string{"size", s.DevShmSize})
	}
	b.mountNew("tmpfs", "/dev/shm", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, shm...)
}

// hostControls are files of /proc by which the host's root steers the machine. The kernel asks most of them only for
// the user id, not for a capability.
var hostControls = []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/proc/scsi", "/proc/mtrr"}

func (b rootBuilder) proc(j *job) {
	b.mountNew("proc", "/proc", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if !j.HostRoot {
		// Left as it is: with mounts in it, a builder could not make sandboxes of its own, as test suites do.
		return
	}
	for _, p := range hostControls {
		b.protect(p)
	}
}

// protect makes what is at name read-only, if it is there.
func (b rootBuilder) protect(name string) {
	fd := b.open(step{sandbox.StageRoot, "open_tree", name}, unix.SYS_OPEN_TREE, b.root, inside(name),
		unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW)
	b.unless(unix.ENOENT, func() {
		b.restrict(sandbox.StageRoot, name, fd, unix.MOUNT_ATTR_RDONLY)
		b.attach(sandbox.StageRoot, name, fd, b.root, inside(name))
		b.close(fd)
	})
}
