package builtin

import (
	"archive/tar"
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"larder/store/compress"
)

// unpack makes what is in an archive, tar or zip, in the directory dest. The archive is hostile.
func unpack(archive, dest string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	root, err := os.OpenRoot(dest)
	if err != nil {
		return err
	}
	defer root.Close()
	u := &unpacker{root: root, dirs: map[string]bool{".": true}}
	var magic [2]byte
	if _, err := f.ReadAt(magic[:], 0); err == nil && string(magic[:]) == "PK" {
		return u.zip(f)
	}
	return u.tar(f)
}

// unpacker makes files below a root. No name leads out of it, none leads through a symlink, and what an archive
// has twice is replaced, not followed.
type unpacker struct {
	root *os.Root
	dirs map[string]bool // that were made
}

func (u *unpacker) tar(f io.Reader) error {
	plain, err := compress.NewReader(compress.Detect, f)
	if err != nil {
		return err
	}
	defer plain.Close()
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := u.tarEntry(h, r); err != nil {
			return fmt.Errorf("entry '%s': %w", h.Name, err)
		}
	}
}

func (u *unpacker) tarEntry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // a comment, as git leaves it
	}
	name, err := localName(h.Name)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.dir(name)
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return u.file(name, fs.FileMode(h.Mode), content)
	case tar.TypeSymlink:
		return u.symlink(name, h.Linkname)
	case tar.TypeLink:
		target, err := localName(h.Linkname)
		if err != nil {
			return err
		}
		return u.hardLink(name, target)
	}
	return errors.New("it is neither a file, nor a directory, nor a link")
}

func (u *unpacker) zip(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, err := zip.NewReader(f, info.Size())
	if err != nil {
		return err
	}
	for _, entry := range r.File {
		if err := u.zipEntry(entry); err != nil {
			return fmt.Errorf("entry '%s': %w", entry.Name, err)
		}
	}
	return nil
}

func (u *unpacker) zipEntry(entry *zip.File) error {
	name, err := localName(entry.Name)
	if err != nil {
		return err
	}
	mode := entry.Mode()
	if mode.IsDir() {
		return u.dir(name)
	}
	if !mode.IsRegular() && mode.Type() != fs.ModeSymlink {
		return errors.New("it is neither a file, nor a directory, nor a link")
	}
	content, err := entry.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	if mode.IsRegular() {
		return u.file(name, mode, content)
	}
	target, err := io.ReadAll(io.LimitReader(content, unix.PathMax))
	if err != nil {
		return err
	}
	return u.symlink(name, string(target))
}

// localName is a name without what leads nowhere. An absolute one is taken as below the root, as tar does.
func localName(name string) (string, error) {
	if len(name) >= unix.PathMax {
		return "", unix.ENAMETOOLONG
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", errors.New("its name has '..' in it")
		default:
			parts = append(parts, part)
		}
	}
	return path.Join(append([]string{"."}, parts...)...), nil
}

// dir makes a directory and what is missing above it.
func (u *unpacker) dir(name string) error {
	if u.dirs[name] {
		return nil
	}
	if err := u.dir(path.Dir(name)); err != nil {
		return err
	}
	err := u.root.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		// What is a directory was made here.
		return fmt.Errorf("'%s' is no directory, but the archive has something below it", name)
	}
	if err == nil {
		u.dirs[name] = true
	}
	return err
}

// makeRoom makes the directory of a file, and removes what has its name.
func (u *unpacker) makeRoom(name string) error {
	if u.dirs[name] {
		return errors.New("it is a directory as well")
	}
	if err := u.dir(path.Dir(name)); err != nil {
		return err
	}
	if err := u.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (u *unpacker) file(name string, mode fs.FileMode, content io.Reader) error {
	if err := u.makeRoom(name); err != nil {
		return err
	}
	// Of the permissions, the owner's to execute is what a store object keeps.
	permissions := fs.FileMode(0o644)
	if mode&0o100 != 0 {
		permissions = 0o755
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, permissions)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

func (u *unpacker) symlink(name, target string) error {
	if err := u.makeRoom(name); err != nil {
		return err
	}
	return u.root.Symlink(target, name)
}

// hardLink makes name another name of a file that the archive had before.
func (u *unpacker) hardLink(name, target string) error {
	if !u.dirs[path.Dir(target)] || u.dirs[target] {
		return fmt.Errorf("a link to '%s', which is not a file of the archive", target)
	}
	if name == target {
		return nil
	}
	if err := u.makeRoom(name); err != nil {
		return err
	}
	return u.root.Link(target, name)
}
