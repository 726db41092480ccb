// Package tree walks and removes file trees of unknown origin by descriptor: one name at a time, each relative to the open
// directory that it was found in. No symlink is ever followed, nobody leads a walk elsewhere by moving things, and neither the
// limit of open descriptors nor PATH_MAX bounds the depth.
//
// [Stack] is the chain of directories that a walk is in. [Remove] and [RemoveAt] delete a tree, also one in which a builder left
// directories without any permission. The system calls here are repeated when a signal interrupts them; their errors are
// plain errnos, and callers know the path.
//
// Nothing here locks: different trees may be worked on concurrently, one tree by one caller.
package tree
