package cacheserver

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"larder/store"
)

// Directory serves a binary cache that lies in a directory, as `larder cache push --to file://…` and `nix copy` make it.
// Only names that a binary cache has are served, and no symlink leads out of the directory. Byte ranges work.
type Directory struct {
	root *os.Root
	dir  store.Dir
}

// NewDirectory opens the directory. d is what a generated nix-cache-info says if the directory has none.
func NewDirectory(path string, d store.Dir) (*Directory, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Directory{root, d}, nil
}

// Close closes the directory.
func (c *Directory) Close() error { return c.root.Close() }

func (c *Directory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	readOnly(c.get).ServeHTTP(w, r)
}

func (c *Directory) get(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	contentType, ok := fileType(name)
	if !ok {
		http.NotFound(w, r)
		return
	}
	err := c.send(w, r, name, contentType)
	switch {
	case errors.Is(err, fs.ErrNotExist) && name == "nix-cache-info":
		w.Header().Set("Content-Type", typeCacheInfo)
		_, _ = w.Write([]byte(cacheInfo(c.dir, defaultPriority))) // a client that went away needs no answer
	case errors.Is(err, fs.ErrNotExist):
		http.NotFound(w, r)
	case err != nil:
		http.Error(w, "the cache's file can't be read", http.StatusInternalServerError)
	}
}

func (c *Directory) send(w http.ResponseWriter, r *http.Request, name, contentType string) error {
	f, err := c.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fs.ErrNotExist
	}
	w.Header().Set("Content-Type", contentType)
	http.ServeContent(w, r, "", info.ModTime(), f)
	return nil
}

// fileType says what a file of a cache is; false for a name that no cache has.
func fileType(name string) (string, bool) {
	folder, rest, nested := strings.Cut(name, "/")
	switch {
	case name == "nix-cache-info":
		return typeCacheInfo, true
	case !nested:
		if _, ok := digestName(name, ".narinfo"); ok {
			return typeNarInfo, true
		}
		_, ok := digestName(name, ".ls")
		return typeListing, ok
	case folder == "build-trace-v2":
		drv, output, nested := strings.Cut(rest, "/")
		return typeListing, nested && plainName(drv) && plainName(output) && strings.HasSuffix(output, ".doi")
	case !plainName(rest):
		return "", false
	case folder == "nar":
		return typeNar, true
	case folder == "log":
		return typeLog, true
	case folder == "realisations":
		return typeListing, strings.HasSuffix(rest, ".doi")
	}
	return "", false
}
