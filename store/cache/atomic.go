package cache

import (
	"cmp"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

const (
	tempPrefix = ".larder-tmp-"
	tempMaxAge = 24 * time.Hour // of one that may still be written
)

// tempFile becomes a file of the cache when it is complete and on disk.
type tempFile struct {
	*os.File
	root *os.Root
	name string // "" once it is gone or has its real name
}

// createTemp makes a temporary file in a directory of the cache.
func createTemp(root *os.Root, dir string) (*tempFile, error) {
	name := path.Join(dir, tempPrefix+rand.Text())
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return &tempFile{File: f, root: root, name: name}, nil
}

// commit gives the file its name, in the place of what has it.
func (t *tempFile) commit(name string) error {
	if err := cmp.Or(t.Sync(), t.Close()); err != nil {
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
	if err := cmp.Or(t.Sync(), t.Close()); err != nil {
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
	return cmp.Or(d.Sync(), d.Close())
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

// sweepTemps removes temporary files that a crash left behind. Who else pushes is not disturbed: they are old.
func sweepTemps(root *os.Root, dirs ...string) error {
	for _, dir := range dirs {
		entries, err := fs.ReadDir(root.FS(), dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), tempPrefix) {
				continue
			}
			info, err := e.Info()
			if err != nil || time.Since(info.ModTime()) < tempMaxAge {
				continue
			}
			if err := root.Remove(path.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
