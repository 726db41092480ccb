package linux

import (
	"encoding/binary"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// The mount system calls of Linux 5.2 to 5.12 work on descriptors: what is mounted, and where, is decided when the
// descriptor is opened, and no path is walked a second time.

// cloneTree opens a private copy of the mounts at and below name, attached nowhere. A symbolic link in the last
// component is not followed unless flags say so.
func (p *program) cloneTree(stage sandbox.Stage, name string, flags int) slot {
	return p.open(step{stage, "open_tree", name}, unix.SYS_OPEN_TREE,
		unix.AT_FDCWD, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|flags)
}

// attach puts the mount tree on the directory or file that dir and name lead to; with an empty name, on dir itself. target is
// what is said of it.
func (p *program) attach(stage sandbox.Stage, target string, tree slot, dir any, name string) {
	flags := unix.MOVE_MOUNT_F_EMPTY_PATH
	if name == "" {
		flags |= unix.MOVE_MOUNT_T_EMPTY_PATH
	}
	p.call(step{stage, "move_mount", target}, unix.SYS_MOVE_MOUNT, tree, "", dir, name, flags)
}

// restrict sets attributes of the mount tree and of everything below it. target is what is said of it.
func (p *program) restrict(stage sandbox.Stage, target string, tree slot, attributes uint64) {
	p.setAttributes(stage, target, tree, attributes, unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
}

func (p *program) setAttributes(stage sandbox.Stage, target string, tree slot, attributes uint64, flags int) {
	const size = 4 * 8
	attr := binary.NativeEndian.AppendUint64(nil, attributes) // attr_set; the rest is 0
	p.call(step{stage, "mount_setattr", target}, unix.SYS_MOUNT_SETATTR, tree, "", flags, append(attr, make([]byte, size-8)...), size)
}

// restrictions are the attributes that m asks for. No set-user-id program of the host works in a sandbox.
func restrictions(m sandbox.Mount) uint64 {
	attributes := uint64(unix.MOUNT_ATTR_NOSUID)
	if !m.Writable {
		attributes |= unix.MOUNT_ATTR_RDONLY
	}
	if !m.Devices {
		attributes |= unix.MOUNT_ATTR_NODEV
	}
	return attributes
}

// filesystem makes a mount of a new instance, attached nowhere. target is what is said of it.
func (p *program) filesystem(kind, target string, attributes int, options ...[2]string) slot {
	s := step{sandbox.StageRoot, "mount " + kind, target}
	fs := p.open(s, unix.SYS_FSOPEN, kind, unix.FSOPEN_CLOEXEC)
	for _, o := range options {
		if o[1] == "" {
			p.call(s, unix.SYS_FSCONFIG, fs, unix.FSCONFIG_SET_FLAG, o[0], none, 0)
		} else {
			p.call(s, unix.SYS_FSCONFIG, fs, unix.FSCONFIG_SET_STRING, o[0], o[1], 0)
		}
	}
	p.call(s, unix.SYS_FSCONFIG, fs, unix.FSCONFIG_CMD_CREATE, none, none, 0)
	fd := p.open(s, unix.SYS_FSMOUNT, fs, unix.FSMOUNT_CLOEXEC, attributes)
	p.close(fs)
	return fd
}

// directory opens a directory for use as a descriptor only.
func (p *program) directory(stage sandbox.Stage, name string) slot {
	return p.open(step{stage, "open", name}, unix.SYS_OPENAT,
		unix.AT_FDCWD, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// tree makes files and directories below a root that it never leaves, through no symbolic link.
type tree struct {
	*program
	root slot
	made map[string]bool // directories that are known to be there
}

func newTree(p *program, root slot) *tree {
	return &tree{program: p, root: root, made: map[string]bool{".": true}}
}

// inside is an absolute path as it is called from the root.
func inside(name string) string {
	if name = strings.TrimPrefix(name, "/"); name != "" {
		return name
	}
	return "."
}

// open opens dir for use as a descriptor only.
func (t *tree) openDir(stage sandbox.Stage, dir string) slot {
	how := binary.NativeEndian.AppendUint64(nil, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC)
	how = binary.NativeEndian.AppendUint64(how, 0) // mode
	how = binary.NativeEndian.AppendUint64(how, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)
	return t.program.open(step{stage, "mkdir", dir}, unix.SYS_OPENAT2, t.root, inside(dir), how, len(how))
}

// mkdirAll makes what is missing of dir.
func (t *tree) mkdirAll(stage sandbox.Stage, dir string) {
	if t.made[inside(dir)] {
		return
	}
	t.mkdirAll(stage, path.Dir(dir))
	parent := t.openDir(stage, path.Dir(dir))
	t.call(step{stage, "mkdir", dir}, unix.SYS_MKDIRAT, parent, path.Base(dir), 0o755).ignore(unix.EEXIST)
	t.close(parent)
	t.made[inside(dir)] = true
}

// openMade opens dir, after it made what is missing of it.
func (t *tree) openMade(stage sandbox.Stage, dir string) slot {
	t.mkdirAll(stage, dir)
	return t.openDir(stage, dir)
}

// writeFile makes a new file that nobody changes any more.
func (t *tree) writeFile(name, content string) {
	s := step{sandbox.StageRoot, "write", name}
	fd := t.open(s, unix.SYS_OPENAT, t.root, inside(name), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o444)
	t.call(s, unix.SYS_WRITE, fd, []byte(content), len(content))
	t.close(fd)
}

func (t *tree) symlink(target, name string) {
	t.call(step{sandbox.StageRoot, "symlink", name}, unix.SYS_SYMLINKAT, target, t.root, inside(name))
}

// mountPoint makes name in dir into something that a mount of this mode can be attached to. fresh: it must not be there yet.
func (p *program) mountPoint(stage sandbox.Stage, target string, dir slot, name string, mode uint32, fresh bool) {
	s := step{stage, "mount point", target}
	var c *call
	if mode&unix.S_IFMT == unix.S_IFDIR {
		c = p.call(s, unix.SYS_MKDIRAT, dir, name, 0o755)
	} else {
		c = p.call(s, unix.SYS_MKNODAT, dir, name, unix.S_IFREG|0o444, 0)
	}
	if !fresh {
		c.ignore(unix.EEXIST)
	}
}
