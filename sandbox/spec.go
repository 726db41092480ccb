package sandbox

// Spec describes one build. It is plain data that crosses a process boundary: the zero value of every optional field has
// a meaning, and nothing in it refers to the process that made it. Paths are absolute and clean. Strings are bytes, as the
// kernel has them, and need not be UTF-8: do not send a Spec as JSON, which would change them.
type Spec struct {
	// Builder is the program, as a path inside the sandbox.
	Builder string
	// Args is the whole argument vector. Args[0] is what the builder sees as its own name (Nix: the base name of Builder).
	Args []string
	// Env is the whole environment, each "NAME=value". Nothing is added or inherited.
	Env []string
	// Builtin is the name of a builder that is part of the program; Builder, Args and Env are not used then, and the
	// environment is empty, because LD_PRELOAD and its like are for programs of the derivation's own choice.
	Builtin string
	// BuiltinInput is what the builtin gets to know. It exists in memory only, so it may hold secrets.
	BuiltinInput []byte
	// Dir is the working directory inside the sandbox. Empty: TmpDirInSandbox.
	Dir string

	// StoreDir is the store directory's name inside the sandbox, usually /nix/store.
	StoreDir string
	// BuildStore is the host directory that becomes StoreDir. Outputs appear in it. It must be writable for the build's
	// user: Nix has it owned by root, group HostGID, mode 01775. Mount points of inputs are made in it, and removed
	// before Run returns.
	BuildStore string
	// ObjectDir is the host directory with all store objects. Only NoChroot needs it. BuildStore may lie in it.
	ObjectDir string
	// BuildDir is the host directory that becomes TmpDirInSandbox. It must belong to HostUID.
	BuildDir string
	// TmpDirInSandbox is the name of BuildDir inside the sandbox. Empty: /build.
	TmpDirInSandbox string
	// TmpDir is the host directory that becomes /tmp; it should have mode 01777. Empty: a tmpfs, that is, memory.
	TmpDir string
	// Mounts are the inputs and whatever else is made visible. Their order does not matter.
	Mounts []Mount

	// NoChroot gives the builder the host's files, devices, network, IPC and host name (Nix: sandbox = false, __noChroot).
	// Its process namespace stays its own, so that all it started dies with it, and so does a mount namespace in
	// which StoreDir, a directory that must exist on the host, is writable and shows every object of ObjectDir. What is
	// written there lands in BuildStore, and never in ObjectDir; BuildStore may hold more than outputs afterwards, changed
	// copies of inputs for example. Where no overlay can be mounted, StoreDir shows BuildStore and the Mounts in it only.
	//
	// The builder runs as HostUID and HostGID, in BuildDir at its own path. Not used are UID, GID, TmpDirInSandbox, TmpDir,
	// Network, Hostname, Domainname, DevShmSize and Mounts outside of StoreDir. An existing /homeless-shelter is an error.
	NoChroot bool
	// Absent are entries of StoreDir that a builder without chroot must not find, though ObjectDir may have them: its outputs.
	Absent []string

	// Network keeps the host's network (fixed-output builds), with /etc/resolv.conf, hosts and services of the host.
	// Otherwise there is only a loopback interface, private to the build.
	Network bool

	// UID and GID are the builder's ids inside. Nix: 1000 and 100.
	UID int
	GID int
	// HostUID and HostGID are who that is outside, who owns the outputs. CallingUser: whoever runs the sandbox, the only choice
	// without privileges.
	HostUID int
	HostGID int
	// UIDCount, if it is more than 1, makes so many users and groups exist inside, from UID and GID on; outside they are those from HostUID
	// and HostGID on (Nix: uid-range, 65536 of them from 0 on). Such a builder has all capabilities over what belongs to them, and a
	// /sys, to run containers. Only root may ask for it, and not without chroot.
	UIDCount int
	// Groups are supplementary groups, as the host has them ("kvm"). Inside, where they get other numbers, they serve to open
	// what belongs to them. Only root may give them; the calling user's own groups stay in any case.
	Groups []int

	// Platform is the system that the build is for, "x86_64-linux" for example. A 32-bit one that this machine runs gets
	// its personality, so that uname(2) tells it. Empty: the machine's own.
	Platform string
	// ImpersonateLinux26 makes uname(2) say version 2.6 (Nix: impersonate-linux-26).
	ImpersonateLinux26 bool
	// Hostname and Domainname are what uname(2) says. Empty: "localhost" and "(none)".
	Hostname   string
	Domainname string
	// DevShmSize limits /dev/shm, in tmpfs's notation ("50%", "1g"). Empty: half of memory, as tmpfs has it.
	DevShmSize string

	// NoSyscallFilter leaves out the seccomp filter (Nix: filter-syscalls = false).
	NoSyscallFilter bool
	// AllowNewPrivileges leaves out no_new_privs (Nix: allow-new-privileges).
	AllowNewPrivileges bool
	// Cgroup limits what all processes of the build use together.
	Cgroup Cgroup
}

// CallingUser as HostUID or HostGID stands for the effective id of the process that runs the sandbox.
const CallingUser = -1

// Mount makes a file or directory of the host visible. What is mounted below Source comes with it.
type Mount struct {
	// Source is a path on the host. If it is a symbolic link, the link itself is made again at Target: a link is
	// never followed in its last component.
	Source string
	// Target is the path inside the sandbox. Missing parents are made. /dev and /dev/pts replace the sandbox's own; /proc, as in Nix, is
	// not used: there is always one of the build's own processes.
	Target string
	// Writable: otherwise the mount is read-only, with all that is below it.
	Writable bool
	// Devices: device nodes at or below Source work (/dev/kvm). Otherwise opening one fails.
	Devices bool
	// Optional: a Source that does not exist (ENOENT) is passed over. Any other error is still an error.
	Optional bool
}

// InsideDir is the name of BuildDir for the builder.
func (s *Spec) InsideDir() string {
	switch {
	case s.NoChroot:
		return s.BuildDir
	case s.TmpDirInSandbox == "":
		return "/build"
	}
	return s.TmpDirInSandbox
}
