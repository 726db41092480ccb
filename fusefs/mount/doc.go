// Package mount arranges the processes of a mounted store: the daemon that
// serves it must never see the mount it serves.
//
// If it did, everything it does in the store directory would come back to it as
// requests that it may have to wait for itself: a hook or an ssh that lies in the
// store, a scan for roots, a sandbox that inherits its mounts. So the daemon
// gets a mount namespace of its own, made before the mount exists, in which the
// store directory is the plain directory underneath. Another process, which stays
// outside, mounts and hands it the /dev/fuse descriptor:
//
//	outside: Run                             daemon: the same program again
//	────────────                             ──────────────────────────────
//	CleanDead(dir)
//	start the daemon ─── socket pair ──────► own mount namespace, all private
//	                                         (plain user: own user namespace too);
//	                                         Inherited, opens its store, may fail
//	       ◄──────────── mount ───────────── Daemon.Mount
//	open /dev/fuse, mount(2)
//	(plain user: fusermount3)
//	       ───────────── device + fd ──────►
//	close fd                                 answers INIT
//	       ◄──────────── serving ─────────── Daemon.Serving
//	Ready()
//	  ⋮  watches its context, the daemon, and whether the mount is still there
//	unmount
//	       ───────────── stop ─────────────► Daemon.Context ends; closes its store
//	wait, detach what is left
//
// # Who dies when
//
//   - The context of Run ends (a signal): unmount; if somebody is using the mount,
//     the daemon is stopped nevertheless, which gives him an error, and the mount is
//     detached.
//   - Somebody unmounts, here or elsewhere (Unmount): the daemon ends. If it was only
//     detached, the daemon is stopped, which gives errors to those who still use it.
//   - The daemon dies: its descriptor was the only one, so the kernel ends the
//     connection and everybody who waits gets an error. Run unmounts, and the plain
//     directory shows what is there.
//   - Run is killed: the daemon sees the end of the socket and stops. It cannot
//     unmount in a namespace that is not its own, so a dead mount stays (ENOTCONN);
//     the next Run on the directory, or CleanDead, removes it.
//
// # Traps
//
//   - What is mounted outside after the daemon was started does not appear in its
//     namespace: the object directory must be on a disk that is there already.
//   - In the daemon's user namespace (plain user) there is only the user himself, and
//     no capability after exec. Processes outside cannot be traced from it.
//   - A mount namespace that somebody made while the store was mounted holds the
//     mount. Unmounting here then does not end it; Run notices and stops the daemon.
//   - Never stat a mount point whose daemon may hang; look at mountinfo first.
package mount
