package local_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/store/local"
)

// temp makes a directory at a temporary name.
func (f *fixture) temp() (name, dir string) {
	f.t.Helper()
	name, err := f.NewTemp(context.Background())
	check(f.t, err)
	dir = filepath.Join(f.ObjectDir(), name)
	check(f.t, os.Mkdir(dir, 0o755))
	return name, dir
}

func TestCanonicalise(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	name, dir := f.temp()
	check(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	check(t, os.WriteFile(filepath.Join(dir, "sub", "plain"), []byte("x"), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "program"), []byte("x"), 0o710))
	check(t, os.WriteFile(filepath.Join(dir, "unreadable"), []byte("x"), 0o000))
	check(t, os.Link(filepath.Join(dir, "program"), filepath.Join(dir, "sub", "linked")))
	outside := filepath.Join(t.TempDir(), "outside")
	check(t, os.WriteFile(outside, []byte("x"), 0o640))
	check(t, os.Symlink(outside, filepath.Join(dir, "symlink")))
	attributes := unix.Setxattr(filepath.Join(dir, "program"), "user.test", []byte("x"), 0) == nil
	check(t, f.Canonicalise(context.Background(), name, os.Geteuid()))
	for file, mode := range map[string]os.FileMode{
		"": os.ModeDir | 0o555, "sub": os.ModeDir | 0o555, "sub/plain": 0o444, "program": 0o555, "unreadable": 0o444,
		"sub/linked": 0o555, "symlink": os.ModeSymlink | 0o777,
	} {
		st, err := os.Lstat(filepath.Join(dir, file))
		check(t, err)
		if st.Mode() != mode || st.ModTime().Unix() != 1 {
			t.Errorf("%q has mode %v and time %v", file, st.Mode(), st.ModTime())
		}
	}
	st, err := os.Stat(outside)
	check(t, err)
	if st.Mode() != 0o640 || st.ModTime().Unix() == 1 {
		t.Error("a symlink was followed")
	}
	if n, err := unix.Listxattr(filepath.Join(dir, "program"), make([]byte, 100)); attributes && (err != nil || n != 0) {
		t.Errorf("extended attributes stay: %d bytes, %v", n, err)
	}
	check(t, f.DropTemp(name))
	if got := f.files(); len(got) != 0 {
		t.Errorf("files left: %q", got)
	}
}

func TestCanonicaliseRefuses(t *testing.T) {
	t.Parallel()
	root := os.Geteuid() == 0
	for _, test := range []struct {
		name     string
		needRoot bool
		uid      int
		make     func(t *testing.T, dir string)
		want     error
	}{
		{"pipe", false, -1, func(t *testing.T, dir string) { check(t, unix.Mkfifo(filepath.Join(dir, "x"), 0o600)) }, local.ErrSpecialFile},
		{"socket", false, -1, func(t *testing.T, dir string) { check(t, unix.Mknod(filepath.Join(dir, "x"), unix.S_IFSOCK|0o600, 0)) }, local.ErrSpecialFile},
		{"device", true, -1, func(t *testing.T, dir string) {
			check(t, unix.Mknod(filepath.Join(dir, "x"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
		}, local.ErrSpecialFile},
		{"setuid", false, -1, func(t *testing.T, dir string) {
			check(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o755))
			check(t, os.Chmod(filepath.Join(dir, "x"), 0o755|os.ModeSetuid))
		}, local.ErrSetID},
		{"setgid", false, -1, func(t *testing.T, dir string) {
			check(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o755))
			check(t, os.Chmod(filepath.Join(dir, "x"), 0o755|os.ModeSetgid))
		}, local.ErrSetID},
		{"foreign owner", true, 12345, func(t *testing.T, dir string) {
			check(t, os.Chown(dir, 12345, 12345))
			check(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o644))
		}, local.ErrOwner},
		{"link to a foreign file", true, 12345, func(t *testing.T, dir string) {
			check(t, os.Chown(dir, 12345, 12345))
			foreign := filepath.Join(filepath.Dir(filepath.Dir(dir)), "foreign")
			check(t, os.WriteFile(foreign, nil, 0o600))
			check(t, os.Link(foreign, filepath.Join(dir, "x")))
		}, local.ErrOwner},
		{"writable for others", false, os.Geteuid(), func(t *testing.T, dir string) { check(t, os.Chmod(dir, 0o757)) }, local.ErrOwner},
		{"writable for the group", false, os.Geteuid(), func(t *testing.T, dir string) { check(t, os.Chmod(dir, 0o775)) }, local.ErrOwner},
		{"file that is writable for the group", false, os.Geteuid(), func(t *testing.T, dir string) {
			check(t, os.Remove(dir))
			check(t, os.WriteFile(dir, nil, 0o644))
			check(t, os.Chmod(dir, 0o664))
		}, local.ErrOwner},
		{"pipe as a whole output", false, -1, func(t *testing.T, dir string) {
			check(t, os.Remove(dir))
			check(t, unix.Mkfifo(dir, 0o600))
		}, local.ErrSpecialFile},
		{"setuid program as a whole output", false, -1, func(t *testing.T, dir string) {
			check(t, os.Remove(dir))
			check(t, os.WriteFile(dir, nil, 0o755))
			check(t, os.Chmod(dir, 0o755|os.ModeSetuid))
		}, local.ErrSetID},
		{"symlink of somebody else", true, 12345, func(t *testing.T, dir string) {
			check(t, os.Remove(dir))
			check(t, os.Symlink("x", dir))
		}, local.ErrOwner},
		{"immutable", true, -1, func(t *testing.T, dir string) {
			file := filepath.Join(dir, "x")
			check(t, os.WriteFile(file, nil, 0o644))
			setImmutable(t, file)
		}, unix.EPERM},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.needRoot && !root {
				t.Skip("needs root")
			}
			f := newFixture(t)
			name, dir := f.temp()
			test.make(t, dir)
			err := f.Canonicalise(context.Background(), name, test.uid)
			var pathErr *os.PathError
			if !errors.Is(err, test.want) || !errors.As(err, &pathErr) || !strings.HasPrefix(pathErr.Path, dir) {
				t.Errorf("got %v, expected %v", err, test.want)
			}
		})
	}
}

// setImmutable sets a flag that keeps even root from changing a file, until the test ends.
func setImmutable(t *testing.T, file string) {
	const immutable = 0x10 // FS_IMMUTABLE_FL of linux/fs.h
	fd, err := unix.Open(file, unix.O_RDONLY, 0)
	check(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags|immutable)
	}
	if err != nil {
		t.Skipf("this file system has no immutable flag: %v", err)
	}
	t.Cleanup(func() { unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags) })
}

// TestRemoveHostileTree: what a builder leaves may be deep, unreadable and full of symlinks.
func TestRemoveHostileTree(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	name, dir := f.temp()
	outside := filepath.Join(t.TempDir(), "outside")
	check(t, os.Mkdir(outside, 0o755))
	check(t, os.WriteFile(filepath.Join(outside, "precious"), nil, 0o644))
	check(t, os.Symlink(outside, filepath.Join(dir, "symlink")))
	check(t, os.Mkdir(filepath.Join(dir, "locked"), 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "locked", "file"), nil, 0o444))
	check(t, os.Chmod(filepath.Join(dir, "locked"), 0o000))
	fd, err := unix.Open(dir, unix.O_RDONLY, 0)
	check(t, err)
	for range 3000 { // deeper than PATH_MAX and the usual limit of descriptors
		check(t, unix.Mkdirat(fd, "d", 0o755))
		next, err := unix.Openat(fd, "d", unix.O_RDONLY, 0)
		check(t, err)
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	check(t, f.DropTemp(name))
	if _, err := os.Stat(filepath.Join(outside, "precious")); err != nil {
		t.Error("a symlink was followed")
	}
	if got := f.files(); len(got) != 0 {
		t.Errorf("files left: %q", got)
	}
}

// What belongs to somebody else is refused unless it is a link to a file that is canonical: of another output.
func TestCanonicaliseLinksBetweenTrees(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root changes owners")
	}
	const uid = 30001
	f := newFixture(t)
	first, a := f.temp()
	second, b := f.temp()
	check(t, os.WriteFile(filepath.Join(a, "x"), nil, 0o755))
	check(t, os.Symlink("x", filepath.Join(a, "y")))
	for _, name := range []string{"x", "y"} {
		check(t, os.Link(filepath.Join(a, name), filepath.Join(b, name)))
	}
	for _, file := range []string{a, b, filepath.Join(a, "x"), filepath.Join(a, "y")} {
		check(t, os.Lchown(file, uid, uid))
	}
	check(t, f.Canonicalise(context.Background(), first, uid))
	check(t, f.Canonicalise(context.Background(), second, uid))
	third, c := f.temp()
	check(t, os.Lchown(c, uid, uid))
	check(t, os.WriteFile(filepath.Join(c, "x"), nil, 0o444))
	check(t, os.Link(filepath.Join(c, "x"), filepath.Join(c, "y")))
	if err := f.Canonicalise(context.Background(), third, uid); !errors.Is(err, local.ErrOwner) {
		t.Errorf("a file of ours that is not canonical: %v", err)
	}
}
