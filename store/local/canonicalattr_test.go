package local_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// acl is a POSIX access control list that lets user 4711 write: its attribute's value (linux/posix_acl_xattr.h).
func acl() []byte {
	const version, userObj, user, groupObj, mask, other, undefined = 2, 1, 2, 4, 16, 32, 0xffffffff
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, uint32(version))
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{userObj, 6, undefined}, {user, 6, 4711}, {groupObj, 4, undefined}, {mask, 6, undefined}, {other, 4, undefined}} {
		binary.Write(&b, binary.LittleEndian, e)
	}
	return b.Bytes()
}

// Access control lists, default ones too, and capabilities are gone, and the mode bits mean what they say.
func TestCanonicaliseRemovesAttributes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	name, dir := f.temp()
	sub, file, program := filepath.Join(dir, "sub"), filepath.Join(dir, "file"), filepath.Join(dir, "program")
	check(t, errors.Join(os.Mkdir(sub, 0o755), os.WriteFile(file, []byte("x"), 0o640), os.WriteFile(program, nil, 0o755)))
	capability := append([]byte{1, 0, 0, 2}, make([]byte, 16)...) // VFS_CAP_REVISION_2, effective
	set := map[string]int{}
	for _, x := range []struct {
		file, name string
		value      []byte
	}{
		{file, "system.posix_acl_access", acl()}, {sub, "system.posix_acl_default", acl()}, {sub, "system.posix_acl_access", acl()},
		{program, "security.capability", capability}, {sub, "user.x", []byte("y")}, {program, "user.x", nil},
	} {
		switch err := unix.Setxattr(x.file, x.name, x.value, 0); err {
		case nil:
			set[x.name]++
		case unix.ENOTSUP, unix.EPERM: // the file system, or who we are
		default:
			t.Fatalf("%s: %v", x.name, err)
		}
	}
	if len(set) == 0 {
		t.Skip("this file system has no extended attributes that we may set")
	}
	check(t, f.Canonicalise(context.Background(), name, os.Geteuid()))
	for path, mode := range map[string]os.FileMode{sub: os.ModeDir | 0o555, file: 0o444, program: 0o555} {
		if n, err := unix.Listxattr(path, make([]byte, 200)); err != nil || n != 0 {
			t.Errorf("%s has %d bytes of attributes left, %v", path, n, err)
		}
		st, err := os.Stat(path)
		check(t, err)
		if st.Mode() != mode || st.ModTime().Unix() != 1 {
			t.Errorf("%s has mode %v and time %v", path, st.Mode(), st.ModTime())
		}
	}
	t.Logf("attributes that were set: %v", set)
}

// An output that is a symlink stays one, and nothing happens to what it points to.
func TestCanonicaliseSymlink(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	name, dir := f.temp()
	outside := filepath.Join(t.TempDir(), "outside")
	check(t, errors.Join(os.Remove(dir), os.WriteFile(outside, nil, 0o666), os.Symlink(outside, dir)))
	before, err := os.Stat(outside)
	check(t, err)
	check(t, f.Canonicalise(context.Background(), name, os.Geteuid()))
	after, err := os.Stat(outside)
	check(t, err)
	if before.Mode() != after.Mode() || !before.ModTime().Equal(after.ModTime()) {
		t.Errorf("it was followed: %v %v", after.Mode(), after.ModTime())
	}
	st, err := os.Lstat(dir)
	check(t, err)
	if target, err := os.Readlink(dir); err != nil || target != outside || st.ModTime().Unix() != 1 {
		t.Errorf("it leads to %s, %v, and has time %v", target, err, st.ModTime())
	}
}
