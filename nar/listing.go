package nar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Listing is the table of contents of an archive. Binary caches offer it as HASH.ls, in the JSON of MarshalJSON, so that
// one can look around in an archive, and fetch a single file of it by its offset, without having it.
//
// A Listing is made by ReadListing, ListTree or ParseListing, or is grown by Add from the zero Listing while an archive
// streams past, for example as RestoreOptions.OnEntry or Dumper.OnEntry. Once made it may be read concurrently. Nothing
// vouches for a listing that comes from elsewhere: binary caches do not sign them.
type Listing struct {
	// Root is the root of the tree, nil in the zero Listing.
	Root *ListingNode

	open []*ListingNode // while growing: the directories that the next entry may be in, outermost first
}

// ListingNode is one file system object of a Listing.
type ListingNode struct {
	// Name is the name in the parent directory, "" for the root.
	Name string
	Type Type
	// Executable, Size and Offset are of a regular file; Offset is where its contents begin in the archive. It is 0 if a
	// listing that was parsed does not have it.
	Executable bool
	Size       int64
	Offset     int64
	// Target is of a symlink.
	Target string
	// Entries are of a directory, sorted by the bytes of their names as in the archive.
	Entries []*ListingNode
}

// ReadListing reads an archive to the end of the stream r and lists it.
func ReadListing(r io.Reader) (*Listing, error) {
	reader, release := pooledReader(r)
	defer release()
	l := &Listing{}
	for {
		e, err := reader.Next()
		if err == io.EOF {
			err = reader.ExpectEOF()
			if err == nil {
				return l, nil
			}
		}
		if err != nil {
			return nil, err
		}
		if err := l.Add(e); err != nil {
			return nil, err
		}
	}
}

// ListTree lists the archive that Dump would make of the tree at path, without reading contents of files. Errors are those
// of Dump.
func ListTree(ctx context.Context, path string) (*Listing, error) {
	l := &Listing{}
	path = cleanRoot(path)
	run := dumpRun{ctx: ctx, enc: newEncoder(io.Discard), root: path, onEntry: l.Add, skipContents: true}
	if _, err := run.dump(unix.AT_FDCWD, path); err != nil {
		return nil, err
	}
	return l, nil
}

// Add appends an entry. Entries must come in the order of an archive, the root first; another order is an error.
func (l *Listing) Add(e *Entry) error {
	node := &ListingNode{Type: e.Type, Executable: e.Executable, Size: e.Size, Offset: e.Offset, Target: e.Target}
	if l.Root == nil && e.Path == "" {
		l.Root = node
	} else if err := l.insert(e.Path, node); err != nil {
		return fmt.Errorf("listing entry %q: %w", e.Path, err)
	}
	if e.Type == Directory {
		l.open = append(l.open, node)
	}
	return nil
}

var errListingOrder = errors.New("not in the order of an archive")

// insert appends a node to the open directory that path says it is in, and gives it its name.
func (l *Listing) insert(path string, node *ListingNode) error {
	depth := 1
	name, rest, more := strings.Cut(path, "/")
	for ; more; name, rest, more = strings.Cut(rest, "/") {
		if depth >= len(l.open) || l.open[depth].Name != name {
			return errListingOrder
		}
		depth++
	}
	if depth > len(l.open) {
		return errListingOrder // the root is not a directory, or not there
	}
	if reason := checkName([]byte(name)); reason != "" {
		return errors.New(reason)
	}
	l.open = l.open[:depth]
	parent := l.open[depth-1]
	if n := len(parent.Entries); n > 0 && parent.Entries[n-1].Name >= name {
		return errListingOrder
	}
	node.Name = strings.Clone(name) // the path need not be kept
	parent.Entries = append(parent.Entries, node)
	return nil
}

// Lookup returns the node at a path as in Entry.Path. It follows no symlinks.
func (l *Listing) Lookup(path string) (*ListingNode, bool) {
	node := l.Root
	for more := path != ""; more && node != nil; {
		var name string
		name, path, more = strings.Cut(path, "/")
		node = node.Child(name)
	}
	return node, node != nil
}

// Child returns the entry of a directory called name, nil if there is none.
func (n *ListingNode) Child(name string) *ListingNode {
	i, found := slices.BinarySearchFunc(n.Entries, name, func(e *ListingNode, name string) int {
		return strings.Compare(e.Name, name)
	})
	if !found {
		return nil
	}
	return n.Entries[i]
}
