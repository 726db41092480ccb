package fusefs

import (
	"fmt"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// kind is the type of a file system object, as far as a NAR knows types.
type kind uint8

const (
	kindAlias     kind = iota // only in node ids: one of many names for the symlink placeholder of an object
	kindDirectory             // everything unknown starts as a directory
	kindRegular
	kindSymlink
)

func (k kind) String() string {
	return [...]string{"alias", "directory", "regular file", "symlink"}[k&3]
}

// mode is the S_IFMT part of st_mode.
func (k kind) mode() uint32 {
	switch k {
	case kindDirectory:
		return unix.S_IFDIR
	case kindRegular:
		return unix.S_IFREG
	default:
		return unix.S_IFLNK
	}
}

// kindOfMode is the inverse of mode; ok is false for what no NAR can hold.
func kindOfMode(mode uint32) (k kind, ok bool) {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return kindDirectory, true
	case unix.S_IFREG:
		return kindRegular, true
	case unix.S_IFLNK:
		return kindSymlink, true
	}
	return 0, false
}

// nodeID is what the kernel calls a node by. It is computed, never stored:
//
//	63           32 31  30 29                        0
//	+--------------+------+--------------------------+
//	| object number| kind | entry in canonical NAR   |
//	|              |      | order, 0 = the object    |
//	+--------------+------+--------------------------+
//
// The kind is in it so that a wrong guess about an absent object is another
// node, which the kernel drops by itself. Kind 0 is an alias: the entry is
// then a running number (see FS.placeholder). The root is FUSE_ROOT_ID, 1,
// which reads as an alias of object 0 with number 1; aliases begin at 2.
type nodeID uint64

const (
	rootID     nodeID = fuse.FUSE_ROOT_ID
	maxEntries        = 1<<30 - 1 // entry numbers are below; the last one would let ^0 be a node, which go-fuse uses
)

func newNodeID(object uint32, k kind, entry uint32) nodeID {
	return nodeID(object)<<32 | nodeID(k)<<30 | nodeID(entry)
}

func (id nodeID) object() uint32 { return uint32(id >> 32) }
func (id nodeID) kind() kind     { return kind(id >> 30 & 3) }
func (id nodeID) entry() uint32  { return uint32(id) & (1<<30 - 1) }

// isTop reports whether id is a store object itself, not something inside it.
func (id nodeID) isTop() bool { return id.kind() == kindAlias || id.entry() == 0 }

func (id nodeID) String() string {
	if id == rootID {
		return "root"
	}
	return fmt.Sprintf("object %d, %s, entry %d", id.object(), id.kind(), id.entry())
}
