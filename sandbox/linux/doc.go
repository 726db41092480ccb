// Package linux runs a [sandbox.Spec] with Linux namespaces, pivot_root(2) and seccomp(2), as root and as an ordinary
// user, without a helper that has more rights than the caller.
//
// # Processes
//
// The program that uses this package starts itself again as the launcher; [MaybeChild], called first thing in main, makes the copy
// do its work.
//
//	daemon ── a Runner ──► launcher ──► child, which becomes the builder
//
// The launcher is process 1 of a process namespace in which all builds live, and does nothing but clone children and
// wait for them. When the daemon dies, however it dies, the launcher reads the end of its socket and exits, and the kernel
// kills all that is in its namespace. A builder can do nothing against that (a parent-death signal it could take off). It
// also keeps launching cheap: clone(2) with a user namespace copies the page tables of its caller, and the
// launcher, unlike a daemon with a database in memory, has hardly any.
//
// The launcher has the next child ready before it is asked for (a spare), because its namespaces are a good part of the cost of a
// launch.
//
// For a builtin builder the child becomes this program once more, with the rights of a builder (builtin.go).
//
// # Identities
//
// One user id and one group id, besides supplementary groups, exist in a build's user namespace, the builder's. Outside they are HostUID and HostGID. A file
// of any other owner, the inputs for example, belongs to "nobody" inside. The child begins with the daemon's ids, which are
// not mapped, and reaches the sources with them; then it takes the builder's ids and makes the root directory.
// Only root's builds without chroot have no user namespace.
//
// # Set-up
//
// Between clone(2) and execve(2) neither Go nor the C library can run: the child is a copy of a process with other threads. So
// all that is to happen there is written down beforehand as a list of system calls (program.go; setup.go has the order), and the
// child, which is a page of C (child.c), makes one after the other. Files of the topics (root.go, inputs.go, identity.go,
// privileges.go, …) write their parts of it.
//
// Sources are opened by open_tree(2), one descriptor each, restricted by mount_setattr(2) and put in their place by move_mount(2):
// no path is walked twice, no symbolic link is followed in its last component, and below the new root none at all. Inputs of
// the store directory are mounted into BuildStore, on mount points that Run removes afterwards; a builder cannot
// move or remove what is mounted in its own mount namespace, nor reveal in another what was mounted for it.
//
// Without chroot (host.go) there is a mount namespace all the same, with the host's root and an overlay for the store directory.
//
// What fails is told to the daemon as a [sandbox.SetupError] over a socket that closes at execve(2).
//
// # Traps
//
//   - The launcher lives in the mount namespace that the daemon had at the first Run. A daemon that changes its namespace does so
//     before.
//   - pivot_root(2) does not work where / is the initial ramfs.
//   - Where parts of /proc are hidden, as in most containers, a new one cannot be mounted and every build fails with a message that
//     says so.
//   - Linux 5.12 or newer is needed (mount_setattr).
package linux
