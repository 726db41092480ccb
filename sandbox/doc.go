// Package sandbox is the vocabulary of isolated builds: what is run ([Spec]), how it ended ([Result]) and what went
// wrong before the builder's first instruction ([SetupError]). The machinery is one level down (sandbox/linux).
//
// # Life cycle
//
// The caller prepares two directories on the host, BuildDir (scratch space of the builder) and BuildStore (where outputs
// appear), describes the build in a Spec and hands it to a runner:
//
//	runner, err := linux.New(linux.Options{})
//	defer runner.Close()
//	result, err := runner.Run(ctx, spec, log)
//
// Run returns when every process of the build is dead. The outputs then lie in BuildStore as plain files, on the file
// system of that directory, so rename(2) can move them to where they belong. They are what a hostile program left there:
// nothing about them (types, modes, owners, link counts) may be assumed.
//
// # What the builder sees
//
//	/            read-only, nothing in it but what is listed here
//	StoreDir     BuildStore, writable; the inputs are mounted into it, read-only
//	/build       BuildDir (TmpDirInSandbox names it)
//	/tmp         empty, mode 1777
//	/etc         passwd, group, hosts; with Network also resolv.conf, services, nsswitch.conf
//	/dev         null zero full random urandom tty fd stdin stdout stderr ptmx pts shm
//	/proc        of its own process namespace, in which the builder is process 1
//	Mounts       whatever else the caller adds, /bin/sh for example
//
// Standard input is /dev/null; standard output and error are one raw pseudo-terminal, whose bytes are the log. All other
// descriptors are closed, signal dispositions are the default ones, the umask is 022, there are no core dumps. The builder
// leads a session that has no controlling terminal, and holds no capability.
//
// Without chroot (Spec.NoChroot) it sees the host instead, with an overlay of all store objects and BuildStore as StoreDir.
//
// # Traps
//
//   - Process 1 of a namespace cannot kill itself with a signal that it does not handle: `kill -9 $$` does nothing.
//   - A builder that closes standard output and error counts as finished and is killed, as in Nix: Result.Signal is SIGKILL.
//   - With Network the builder shares the host's network namespace: it reaches loopback services of the host. Abstract
//     unix sockets of the host are out of reach only where the kernel has Landlock's scopes (Linux 6.12).
//   - Sockets between virtual machines (AF_VSOCK) belong to no network namespace, with or without Network. A filter could not refuse them
//     to 32-bit programs, whose calls have the family in memory.
//   - A builder without chroot has all that its user has: where that is the calling user, the database of the store too.
//   - A Spec whose HostUID is 0 runs the builder with the identity of the host's root, though without a capability: it owns
//     control groups, for example. Use another id; the user need not exist.
//   - A builder with Network can give open descriptors, of its outputs too, to a process outside: what it left must be copied
//     before it is believed. Without Network it can do so where others reach its directories, which must lie in one that is closed,
//     and by sockets in whatever the Mounts share with others.
package sandbox
