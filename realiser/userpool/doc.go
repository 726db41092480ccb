// Package userpool says who builders are on the host, and lends each identity to one build at a time.
//
// # Who
//
// A [Pool] has identities of one kind:
//
//   - members of a group (Nix: build-users-group), with their supplementary groups;
//   - ranges of ids that no account has (Nix: auto-allocate-uids), for which no group is needed;
//   - the calling user, the only choice without privileges.
//
// Root itself is never one of them, nor is whoever runs this process.
//
// # Locks
//
// An identity is held by a lock on a file, the very one that Nix would lock: userpool/UID for a member, userpool2/slot-N for the
// N-th range. User ids belong to the whole machine, so everybody who builds on it must use the same directory, /nix/var/nix as a
// rule: whoever holds a lock kills all that runs under the id before a build begins, and would hit the builder of another
// daemon that looks for its locks elsewhere. flock(2) releases the lock when its holder dies.
//
// A build holds its lock until its outputs are registered, since until then they belong to that user.
//
// # Traps
//
//   - Lock files are never removed: somebody could hold a lock on a file that has no name any more.
//   - Processes are found in this process namespace only. A container that shares the machine's user ids but not its process
//     ids needs a range of its own (Options.StartID).
//   - Where user ids are mapped (a container with a user namespace), ranges outside the map do not exist. If none does, builders
//     run as the calling user.
package userpool
