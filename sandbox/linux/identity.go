package linux

import (
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// group is a supplementary group of the builder.
type group struct{ inside, outside int }

// firstGroup is the number inside of the first one. Their numbers on the host differ from machine to machine.
const firstGroup = 100_000

// supplementary gives the groups besides primary their numbers inside, which without chroot are those of the host.
func supplementary(groups []int, primary int, noChroot bool) (list []group) {
	for _, g := range groups {
		if g == primary || slices.ContainsFunc(list, func(o group) bool { return o.outside == g }) {
			continue // the kernel maps none twice
		}
		inside := g
		if !noChroot {
			inside = firstGroup + len(list)
		}
		list = append(list, group{inside, g})
	}
	return list
}

// takeIDs makes this thread the build's user. Until now it had the daemon's ids, with which it could reach the sources
// but create no file in a file system of its own: ids that are not mapped do not exist there. It keeps its capabilities.
func takeIDs(s *sandbox.Spec) error {
	groups := []uint32{0} // so that there is something to point to
	for _, g := range supplementary(s.Groups, s.HostGID, s.NoChroot) {
		groups = append(groups, uint32(g.inside))
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)-1), uintptr(unsafe.Pointer(unsafe.SliceData(groups[1:]))), 0)
	if errno != 0 && !setgroupsDenied() {
		return setupError(sandbox.StagePrivileges, "setgroups", "", errno)
	}
	gid, uid := uintptr(s.GID), uintptr(s.UID)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return setupError(sandbox.StagePrivileges, "setresgid", "", errno)
	}
	// Root of the machine, which it is without a user namespace, would lose them.
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return setupError(sandbox.StagePrivileges, "prctl PR_SET_KEEPCAPS", "", err)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return setupError(sandbox.StagePrivileges, "setresuid", "", errno)
	}
	return raiseCapabilities()
}

// raiseCapabilities makes those effective that are permitted.
func raiseCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	if err == nil {
		for i := range data {
			data[i].Effective = data[i].Permitted
		}
		err = unix.Capset(&header, &data[0])
	}
	return setupError(sandbox.StagePrivileges, "capset", "", err)
}

// setgroupsDenied reports whether this user namespace forbids setgroups(2), as those made without privileges do. The
// groups of the calling user stay then; nothing of the host that they could open is visible, but to a build without chroot,
// which may do what that user may.
func setgroupsDenied() bool {
	text, err := os.ReadFile("/proc/self/setgroups")
	return err == nil && strings.TrimSpace(string(text)) == "deny"
}
