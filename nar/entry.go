package nar

import (
	"fmt"
	"strings"
)

// Limits of what this package reads, writes, dumps and restores.
const (
	// MaxName is the length in bytes of the longest file name (NAME_MAX of Linux).
	MaxName = 255
	// MaxTarget is the length in bytes of the longest symlink target (PATH_MAX of Linux without its final NUL).
	MaxTarget = 4095
	// MaxDepth is how many directories may be nested, the root included.
	MaxDepth = 2048
	// MaxPath is the length in bytes of the longest path within an archive. Without it a small archive of deeply nested long
	// names would cost a copy of half a megabyte for each of its entries.
	MaxPath = 1 << 16
)

// Type is the kind of a file system object.
type Type uint8

// The kinds that a NAR can hold. The zero Type is none of them.
const (
	Regular Type = iota + 1
	Directory
	Symlink
)

// String returns the word that stands for t in a NAR and in a listing.
func (t Type) String() string {
	switch t {
	case Regular:
		return "regular"
	case Directory:
		return "directory"
	case Symlink:
		return "symlink"
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// Entry describes one file system object of an archive. Entries come depth first, a directory before what is in it,
// siblings in the order of the bytes of their names.
type Entry struct {
	// Path is relative to the root of the archive and separated by slashes; the root itself is "". It need not be UTF-8.
	Path string
	Type Type
	// Executable is the executable bit of a regular file.
	Executable bool
	// Size is the length of a regular file's contents in bytes.
	Size int64
	// Target is what a symlink points to; it is never empty and holds no NUL.
	Target string
	// Offset is where a regular file's contents begin, in bytes from the start of the archive.
	Offset int64
}

// Name returns the last component of the path, "" for the root.
func (e *Entry) Name() string {
	return e.Path[strings.LastIndexByte(e.Path, '/')+1:]
}

// FormatError says that an archive is malformed or not in canonical form.
type FormatError struct {
	// Offset is where in the archive the offending string starts, or where a truncated archive ends, in bytes.
	Offset int64
	// Reason is what is wrong there, in words.
	Reason string
	// Err is io.ErrUnexpectedEOF if the archive ends too early, otherwise nil.
	Err error
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("malformed NAR at byte %d: %s", e.Offset, e.Reason)
}

func (e *FormatError) Unwrap() error { return e.Err }

// checkName says what is wrong with a name of a directory entry, "" if nothing.
func checkName(name []byte) string {
	switch {
	case len(name) == 0:
		return "empty file name"
	case len(name) > MaxName:
		return fmt.Sprintf("file name of %d bytes is longer than %d", len(name), MaxName)
	case string(name) == "." || string(name) == "..":
		return fmt.Sprintf("file name %q", name)
	}
	for _, c := range name {
		if c == '/' || c == 0 {
			return fmt.Sprintf("file name %q contains a slash or NUL", name)
		}
	}
	return ""
}

// checkTarget says what is wrong with a symlink target, "" if nothing.
func checkTarget(target string) string {
	switch {
	case target == "":
		return "empty symlink target"
	case len(target) > MaxTarget:
		return fmt.Sprintf("symlink target of %d bytes is longer than %d", len(target), MaxTarget)
	case strings.IndexByte(target, 0) >= 0:
		return "symlink target contains a NUL"
	}
	return ""
}
