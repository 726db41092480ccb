// Package fusefs shows a store as a file system in which every realisable path
// exists: a program that opens an absent one waits until it has come.
//
// # Concepts
//
// [FS] speaks the FUSE protocol (see fuse(4) and linux/fuse.h) through the raw API
// of go-fuse. What is present is answered from the plain files in the object
// directory. What is absent is answered with a placeholder, at once and always,
// because four rules make most special cases vanish:
//
//   - Only GETATTR, and READLINK of a placeholder, wait. A LOOKUP that waits holds the
//     lock of its directory: mkdir, ls and every other lookup of the store would wait
//     behind it, some of them beyond the reach of SIGKILL.
//   - The daemon never sees its own mount (package mount sees to that).
//   - A node id is computed, not stored: object number, kind, entry number in canonical
//     NAR order. Nothing has to be saved when the daemon is replaced.
//   - FORGET is how we know that a thing is unused.
//
// # Life of an absent path
//
//	open("/nix/store/…-hello/bin/hello")
//	LOOKUP  …-hello      → placeholder, a directory, entry and attribute timeout 0
//	GETATTR placeholder  → waits for Realiser.Realise, then shows the real attributes
//	LOOKUP  bin, hello   → nodes of the object, cached for as long as it lives
//
// The mount has default_permissions, so the kernel asks for attributes that have timed
// out before it does anything else with a node. When the object has come and is of the
// kind that the placeholder had, the placeholder's node simply is the real thing. If
// not, GETATTR answers ESTALE: the kernel walks the path again, once, and LOOKUP gives
// the real node, which has another id. The kind is a guess: what the object was when it
// was last here; a file if it is a derivation; a symlink if the caller is in execve or
// readlink, which look at nothing else; else a directory.
//
// # What the kernel answers alone
//
// Store objects are immutable, so once it has seen a thing the kernel asks no more:
//
//   - Timeouts of entries, attributes and, inside objects, negative entries are endless,
//     that of an object's own name is an hour (then a LOOKUP shows that it is in use).
//     In the root nothing negative is cached: a derivation may be added any moment.
//   - OPEN, OPENDIR and FLUSH are answered with ENOSYS, once: the kernel then opens and
//     closes by itself (FUSE_NO_OPEN_SUPPORT, FUSE_NO_OPENDIR_SUPPORT), keeps pages, and
//     caches directories and symlinks (FUSE_CACHE_SYMLINKS). So do xattrs, LSEEK and STATX.
//   - FUSE_EXPLICIT_INVAL_DATA: it does not drop pages when it believes that a file changed.
//   - FUSE_READDIRPLUS_AUTO: listing and looking at everything is one request a buffer.
//
// The root is the exception: it changes, so its listing must not be cached (see
// endUncached).
//
// # Signals
//
// Any signal that a program has not masked sends INTERRUPT, even the SIGURG with which
// the Go runtime preempts, and only the first one does. A wait that has been interrupted
// looks into /proc for what is pending, every 20 ms from then on: a signal that will
// kill, and INT, TERM, QUIT and HUP, end it with EINTR, others do not. Who leaves disturbs
// nobody: each has a call of its own to the Realiser.
//
// # Errors
//
// ENOENT is only what provably cannot be realised; a failure is EIO; EINTR is a signal
// (or the end of the daemon); ENOTCONN is a daemon that is ending; EROFS is any change, and
// what is not here while the store itself is read-only.
// ESTALE should never reach a program but in the holes below.
//
// # Deleting
//
// Call [FS.Invalidate] before the files go, and keep those that it returns as busy.
//
// # Traps
//
//   - Holes that remain where the guessed kind was wrong: O_PATH then fstat (ESTALE),
//     O_CREAT on the name (EISDIR); statx with AT_STATX_DONT_SYNC shows the placeholder.
//     A kind that is remembered is believed: had it changed, exec or opendir could fail once.
//   - Unprivileged, /proc/PID/syscall of other user namespaces cannot be read, and
//     execve is guessed from PF_FORKNOEXEC; readlink of an absent path is EINVAL then.
//   - While the kernel reads a symlink that it will cache, others wait for the same inode
//     unkillably: each gets a symlink placeholder of its own (an alias).
//   - EntryNotify waits for lookups: never call it from a request.
//   - One goroutine waits for each waiting process. Processes are what bounds them:
//     FUSE limits only background requests (max_background), and READ, which is one,
//     never waits for a realisation.
//   - A test that looks into its own mount blocks threads of the server: let a process
//     of its own do that, above all exec.
package fusefs
