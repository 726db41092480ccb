package linux

import (
	"encoding/binary"
	"os"
	"slices"
	"strings"

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

// setupCapabilities are what the child holds until it becomes the builder. In a user namespace of its own it starts with all,
// without one it has those of the daemon.
const setupCapabilities = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID |
	1<<unix.CAP_SETPCAP | 1<<unix.CAP_DAC_OVERRIDE

// takeIDs makes the child the build's user. Until now it had the daemon's ids, with which it could reach the sources
// but create no file in a file system of its own: ids that are not mapped do not exist there. It keeps setupCapabilities.
func (p *program) takeIDs(s *sandbox.Spec) {
	var groups []byte
	list := supplementary(s.Groups, s.HostGID, s.NoChroot)
	for _, g := range list {
		groups = binary.NativeEndian.AppendUint32(groups, uint32(g.inside))
	}
	setgroups := p.call(step{sandbox.StagePrivileges, "setgroups", ""}, unix.SYS_SETGROUPS, len(list), groups)
	if len(list) == 0 && !maySetGroups() {
		// A user namespace that was made without privileges forbids it. The groups of the calling user stay then; nothing of the
		// host that they could open is visible, but to a build without chroot, which may do what that user may.
		setgroups.ignore(unix.EPERM)
	}
	p.call(step{sandbox.StagePrivileges, "setresgid", ""}, unix.SYS_SETRESGID, s.GID, s.GID, s.GID)
	// Root of the machine, which it is without a user namespace, would lose them.
	p.call(step{sandbox.StagePrivileges, "prctl PR_SET_KEEPCAPS", ""}, unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0)
	p.call(step{sandbox.StagePrivileges, "setresuid", ""}, unix.SYS_SETRESUID, s.UID, s.UID, s.UID)
	capabilities := uint64(setupCapabilities)
	if s.UIDCount > 1 {
		capabilities = allCapabilities() // they are the builder's
	} else if s.NoChroot && maySetUpNamespaces() {
		capabilities &= permitted()
	}
	p.setCapabilities(capabilities)
}

// maySetGroups reports whether user namespaces that this process makes may have setgroups(2). Where it is forbidden it stays so below.
func maySetGroups() bool {
	text, err := os.ReadFile("/proc/self/setgroups") // "allow" or "deny"; Linux 3.19
	return maySetUpNamespaces() && err == nil && strings.TrimSpace(string(text)) != "deny"
}

// setCapabilities makes these permitted and effective, and none inheritable.
func (p *program) setCapabilities(set uint64) {
	header := binary.NativeEndian.AppendUint64(nil, unix.LINUX_CAPABILITY_VERSION_3) // and process 0, the caller
	var data []byte
	for _, half := range []uint32{uint32(set), uint32(set >> 32)} {
		for _, part := range []uint32{half, half, 0} { // effective, permitted, inheritable
			data = binary.NativeEndian.AppendUint32(data, part)
		}
	}
	p.call(step{sandbox.StagePrivileges, "capset", ""}, unix.SYS_CAPSET, header, data)
}

// permitted are the capabilities that this process may use.
func permitted() uint64 {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return 0
	}
	return uint64(data[1].Permitted)<<32 | uint64(data[0].Permitted)
}
