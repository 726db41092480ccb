// Package git takes the ids that git gives file trees, of NARs: that of a blob if it is a file, that of a tree if it is a
// directory (Pro Git, "Git Objects"; Nix manual, "Content-addressing file system objects: Git").
//
// # Traps
//
//   - What tells a file from an executable or a symlink is its entry in a tree. So a bare file counts as one that is not
//     executable, and a bare executable or symlink has no id: [ErrNoObject].
//   - Git has no index entry for an empty directory, but its tree has an id, which is taken as Nix does.
//   - In a tree a directory is sorted as if its name ended in a slash, so that the order is not that of the NAR.
package git

import (
	"context"
	"errors"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"

	"larder/nar"
)

// ErrNoObject says that git has no object for a file system object.
var ErrNoObject = errors.New("git has no object for a bare executable or symlink")

// The modes of entries in a tree.
const (
	modeDirectory  = "40000"
	modeFile       = "100644"
	modeExecutable = "100755"
	modeSymlink    = "120000"
)

// ObjectID reads a NAR to the end of the stream and returns the id of what is in it. newHash starts the hash of the object
// format: SHA-1, or SHA-256. Memory is that of the entries of the directories that are open at a time. Errors are
// ErrNoObject, or those of nar.Reader.
func ObjectID(r io.Reader, newHash func() hash.Hash) ([]byte, error) {
	w := walk{r: nar.NewReader(r), newHash: newHash}
	for {
		e, err := w.r.Next()
		if err == io.EOF {
			w.leaveTo(0)
			return w.root, w.r.ExpectEOF()
		}
		if err == nil {
			err = w.add(e)
		}
		if err != nil {
			return nil, err
		}
	}
}

// ObjectIDAt is ObjectID of the file called name in the open directory dirfd. Errors are also those of nar.DumpAt.
func ObjectIDAt(ctx context.Context, dirfd int, name string, newHash func() hash.Hash) ([]byte, error) {
	r, w := io.Pipe()
	dumped := make(chan error, 1)
	go func() {
		_, err := nar.DumpAt(ctx, w, dirfd, name)
		w.CloseWithError(err) // nil: end of file
		dumped <- err
	}()
	id, err := ObjectID(r, newHash)
	r.CloseWithError(err)
	if failed := <-dumped; failed != nil && !errors.Is(failed, io.ErrClosedPipe) {
		return nil, failed
	}
	return id, err
}

// walk goes through an archive.
type walk struct {
	r       *nar.Reader
	newHash func() hash.Hash
	open    []directory // from the root to the parent of the current entry
	root    []byte      // its id
}

type directory struct {
	name    string
	entries []entry
}

// entry is one of a tree.
type entry struct {
	mode, name string
	id         []byte
}

func (w *walk) add(e *nar.Entry) error {
	name := e.Name()
	if e.Path != "" {
		w.leaveTo(strings.Count(e.Path, "/") + 1)
	}
	switch e.Type {
	case nar.Directory:
		w.open = append(w.open, directory{name: name})
		return nil
	case nar.Symlink:
		return w.put(entry{modeSymlink, name, w.id("blob", int64(len(e.Target)), func(h hash.Hash) { io.WriteString(h, e.Target) })})
	}
	var err error
	id := w.id("blob", e.Size, func(h hash.Hash) { _, err = io.Copy(h, w.r) })
	if err != nil {
		return err
	}
	mode := modeFile
	if e.Executable {
		mode = modeExecutable
	}
	return w.put(entry{mode, name, id})
}

// put adds an entry to the innermost open directory.
func (w *walk) put(e entry) error {
	if len(w.open) > 0 {
		top := &w.open[len(w.open)-1]
		top.entries = append(top.entries, e)
		return nil
	}
	if e.mode == modeExecutable || e.mode == modeSymlink {
		return ErrNoObject
	}
	w.root = e.id
	return nil
}

// leaveTo ends directories until depth are open.
func (w *walk) leaveTo(depth int) {
	for len(w.open) > depth {
		top := w.open[len(w.open)-1]
		w.open = w.open[:len(w.open)-1]
		_ = w.put(entry{modeDirectory, top.name, w.tree(top.entries)}) // no error: it is neither executable nor symlink
	}
}

func (w *walk) tree(entries []entry) []byte {
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.sortName(), b.sortName()) })
	size := 0
	for _, e := range entries {
		size += len(e.mode) + len(" ") + len(e.name) + len("\x00") + len(e.id)
	}
	return w.id("tree", int64(size), func(h hash.Hash) {
		for _, e := range entries {
			io.WriteString(h, e.mode+" "+e.name+"\x00")
			h.Write(e.id)
		}
	})
}

func (e entry) sortName() string {
	if e.mode == modeDirectory {
		return e.name + "/"
	}
	return e.name
}

// id is the hash of an object.
func (w *walk) id(kind string, size int64, content func(hash.Hash)) []byte {
	h := w.newHash()
	io.WriteString(h, kind+" "+strconv.FormatInt(size, 10)+"\x00")
	content(h)
	return h.Sum(nil)
}
