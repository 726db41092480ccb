package linux

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// The mount system calls of Linux 5.2 to 5.12 work on descriptors: what is mounted, and where, is decided when the
// descriptor is opened, and no path is walked a second time.

// cloneTree opens a private copy of the mounts at and below p, attached nowhere. A symbolic link in the last
// component is not followed unless flags say so.
func cloneTree(p string, flags uint) (int, error) {
	return unix.OpenTree(unix.AT_FDCWD, p, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|flags)
}

// attach puts the mount tree on the directory or file that dir and name lead to; with an empty name, on dir itself.
func attach(tree, dir int, name string) error {
	flags := unix.MOVE_MOUNT_F_EMPTY_PATH
	if name == "" {
		flags |= unix.MOVE_MOUNT_T_EMPTY_PATH
	}
	return unix.MoveMount(tree, "", dir, name, flags)
}

// restrict sets attributes of the mount tree and of everything below it.
func restrict(tree int, attributes uint64) error {
	return unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attributes})
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

// newFilesystem makes a mount of a new instance, attached nowhere.
func newFilesystem(kind string, attributes int, options ...[2]string) (int, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	for _, o := range options {
		if o[1] == "" {
			err = unix.FsconfigSetFlag(fs, o[0])
		} else {
			err = unix.FsconfigSetString(fs, o[0], o[1])
		}
		if err != nil {
			return -1, err
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
}

// tree makes files and directories below a root that it never leaves, through no symbolic link.
type tree int

// open opens dir, a path inside with or without the leading slash, for use as a descriptor only.
func (t tree) open(dir string) (int, error) {
	dir = strings.TrimPrefix(dir, "/")
	if dir == "" {
		dir = "."
	}
	return unix.Openat2(int(t), dir, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// mkdirAll opens dir, after it made what is missing of it.
func (t tree) mkdirAll(dir string) (int, error) {
	fd, err := t.open(dir)
	if err != unix.ENOENT {
		return fd, err
	}
	parent, err := t.mkdirAll(path.Dir(dir))
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	if err := unix.Mkdirat(parent, path.Base(dir), 0o755); err != nil && err != unix.EEXIST {
		return -1, err
	}
	return t.open(dir)
}

// writeFile makes a new file that nobody changes any more.
func (t tree) writeFile(name, content string) error {
	fd, err := unix.Openat(int(t), strings.TrimPrefix(name, "/"), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o444)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(content))
	return err
}

// mountPoint makes name in dir into something that a mount of this mode can be attached to. fresh: it must not be there yet.
func mountPoint(dir int, name string, mode uint32, fresh bool) error {
	var err error
	if mode&unix.S_IFMT == unix.S_IFDIR {
		err = unix.Mkdirat(dir, name, 0o755)
	} else {
		err = unix.Mknodat(dir, name, unix.S_IFREG|0o444, 0)
	}
	if err == unix.EEXIST && !fresh {
		return nil
	}
	return err
}
