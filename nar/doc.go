// Package nar reads and writes the Nix archive format (NAR), the canonical serialisation of a file tree that Nix
// hashes, signs and ships.
//
// # The format
//
// A NAR is a sequence of strings. A string is its length as a little-endian 64-bit number, its bytes, and zero bytes up
// to the next multiple of eight. In terms of strings the grammar is (Nix manual, "Nix Archive (NAR) format"):
//
//	archive   = "nix-archive-1" node
//	node      = "(" "type" body ")"
//	body      = "regular" [ "executable" "" ] "contents" BYTES
//	          | "symlink" "target" TARGET
//	          | "directory" { "entry" "(" "name" NAME "node" node ")" }
//
// Entries of a directory are sorted by the bytes of their names. Owner, times, permissions other than the executable bit,
// extended attributes and hard links are not part of a NAR. So one tree has exactly one NAR, and this package insists on
// that: it accepts an archive only if encoding the tree again gives the same bytes. Nix 2.8.0 is laxer in places (unsorted
// names, a field twice, trailing bytes); what it lets pass there is refused here.
//
// # Pieces
//
//   - [Reader] turns a stream into entries and their contents; [Writer] does the opposite.
//   - [Dump] writes the NAR of a tree on disk; [Restore] makes the tree of a NAR on disk.
//   - [Listing] is the table of contents of a NAR, the ".ls" file of binary caches.
//
// All of them are streaming and need no goroutine: memory does not depend on the size of files, on the number of entries
// that were read, or on lengths that the stream merely claims. (Dump holds the names of the directories it is in, because
// it has to sort them; a Listing holds every entry, that is its purpose.)
//
// # Limits
//
// Names are at most [MaxName] bytes and symlink targets [MaxTarget] bytes, which is what Linux can hold. Directories nest
// at most [MaxDepth] deep and a path within the archive is at most [MaxPath] bytes long. That is beyond PATH_MAX on
// purpose: trees are walked with descriptors, one name at a time. Only a few directories are open at any moment however
// deep the tree is.
//
// # Traps
//
//   - A Reader reports the end of the archive, not the end of the stream. Who must refuse trailing bytes calls
//     [Reader.ExpectEOF]; Restore does. It also makes a decompressor below check its checksum.
//   - A Reader reads ahead, unless it is given a *bufio.Reader: that one is used as it is and stands just behind the
//     archive afterwards. Streams that embed NARs need this.
//   - Malformed input is a [*FormatError]. An error of the underlying stream is passed on wrapped, and is not one.
package nar
