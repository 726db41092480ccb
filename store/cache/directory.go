package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"larder/store"
)

// directory reaches the files of a cache on disk. It is opened anew each time: the directory may be replaced meanwhile.
// Nothing outside of it is reached, whatever symlinks are in it.
type directory string

func (d directory) close() {}

func (d directory) get(_ context.Context, name string, max int64) ([]byte, error) {
	f, err := d.openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(b)) > max {
		err = corruptf("%s is longer than %d bytes", name, max)
	}
	return b, err
}

func (d directory) open(_ context.Context, name string) (io.ReadCloser, error) {
	return d.openFile(name)
}

func (d directory) openFile(name string) (*os.File, error) {
	if !filepath.IsLocal(name) {
		return nil, corruptf("%q is not within the cache", name)
	}
	root, err := os.OpenRoot(string(d))
	if err != nil {
		// Even if there is no such directory: that is a failure (not mounted, misspelt), not the answer of a cache.
		return nil, err
	}
	defer root.Close()
	// O_NONBLOCK: opening a FIFO must not wait.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", store.ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
