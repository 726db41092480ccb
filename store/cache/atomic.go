package cache

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
)

// tempFile becomes a file of the cache when it is complete and on disk.
type tempFile struct {
	*os.File
	root *os.Root
	name string // "" once it is gone or has its real name
}

// createTemp makes a temporary file in a directory of the cache.
func createTemp(root *os.Root, dir string) (*tempFile, error) {
	name := path.Join(dir, ".larder-tmp-"+rand.Text())
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return &tempFile{File: f, root: root, name: name}, nil
}

// commit gives the file its name, in the place of what has it.
func (t *tempFile) commit(name string) error {
	if err := errors.Join(t.Sync(), t.Close()); err != nil {
		return err
	}
	if err := t.root.Rename(t.name, name); err != nil {
		return err
	}
	t.name = ""
	return syncDir(t.root, path.Dir(name))
}

// commitNew is commit, unless something has the name: that is fs.ErrExist.
func (t *tempFile) commitNew(name string) error {
	if err := errors.Join(t.Sync(), t.Close()); err != nil {
		return err
	}
	if err := t.root.Link(t.name, name); err != nil {
		return err
	}
	return syncDir(t.root, path.Dir(name))
}

// discard removes the temporary file, if it is there still.
func (t *tempFile) discard() {
	if t.name != "" {
		t.Close()
		t.root.Remove(t.name)
		t.name = ""
	}
}

// syncDir makes the names in a directory durable.
func syncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeFile writes a small file, in the place of what has the name.
func writeFile(root *os.Root, name string, contents []byte) error {
	f, err := createTemp(root, path.Dir(name))
	if err != nil {
		return err
	}
	defer f.discard()
	if _, err := f.Write(contents); err != nil {
		return err
	}
	return f.commit(name)
}

// writeNew writes a small file, unless something has the name.
func writeNew(root *os.Root, name string, contents []byte) error {
	if _, err := root.Lstat(name); err == nil {
		return nil
	}
	f, err := createTemp(root, path.Dir(name))
	if err != nil {
		return err
	}
	defer f.discard()
	if _, err := f.Write(contents); err != nil {
		return err
	}
	err = f.commitNew(name)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return err
}
