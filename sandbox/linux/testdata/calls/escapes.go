package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// escapes tries to get out, or at what is outside: a process of the host, its port of the loopback interface, its shared memory.
func escapes(outside []string) {
	processes(outside[0])
	network(outside[1])
	memory(outside[2])
	mounts("")
	privileges()
	foreignFiles()
	controls("")
	// A user namespace of one's own gives capabilities, over nothing that came from outside.
	cmd := exec.Command("/proc/self/exe", "nested")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWNS | unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
	}
	if err := cmd.Run(); err != nil {
		fmt.Println("nested start", err)
	}
	leave(outside[3])
}

func processes(host string) {
	pid, _ := strconv.Atoi(host)
	say("kill", unix.Kill(pid, unix.SIGKILL))
	call("tgkill", unix.SYS_TGKILL, uintptr(pid), uintptr(pid), uintptr(unix.SIGKILL))
	say("kill group", unix.Kill(-pid, unix.SIGKILL))
	call("ptrace attach", unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(pid), 0, 0)
	call("ptrace seize", unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0)
	call("pidfd_open", unix.SYS_PIDFD_OPEN, uintptr(pid), 0)
	var buf [8]byte
	local := []unix.Iovec{{Base: &buf[0], Len: 8}}
	_, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: 4096, Len: 8}}, 0)
	say("process_vm_readv", err)
	_, err = os.ReadFile("/proc/" + host + "/environ")
	say("read environ", plain(err))
	say("setpriority", unix.Setpriority(unix.PRIO_PROCESS, pid, 10))
	// What the one who started this holds open.
	_, err = os.Readlink("/proc/1/fd/3")
	say("read descriptor 3", plain(err))
}

func plain(err error) error {
	var errno unix.Errno
	switch e := err.(type) {
	case *os.PathError:
		err = e.Err
	case *os.SyscallError:
		err = e.Err
	}
	if e, ok := err.(unix.Errno); ok {
		errno = e
		return errno
	}
	return err
}

func network(port string) {
	say2 := func(name string, err error) {
		if err != nil {
			err = unix.ECONNREFUSED
		}
		say(name, err)
	}
	for _, address := range []string{"127.0.0.1:" + port, "[::1]:" + port} {
		c, err := net.Dial("tcp", address)
		say2("connect "+address[:4], err)
		if err == nil {
			c.Close()
		}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err == nil {
		err = unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Port: 53, Addr: [4]byte{192, 0, 2, 1}})
	}
	say("send outside", err)
	_, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	say("packet socket", err)
	_, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	say("raw socket", err)
}

// memory is shared memory (System V) and keys.
func memory(segment string) {
	id, _ := strconv.Atoi(segment)
	if id >= 0 {
		_, err := unix.SysvShmAttach(id, 0, unix.SHM_RDONLY)
		say("shmat", err)
	}
	_, err := unix.KeyctlSearch(unix.KEY_SPEC_SESSION_KEYRING, "user", "larder-test", 0)
	say("search key", err)
	_, err = unix.KeyctlSearch(unix.KEY_SPEC_USER_KEYRING, "user", "larder-test", 0)
	say("search user's key", err)
}

func mounts(prefix string) {
	say(prefix+"mount", unix.Mount("none", "/tmp", "tmpfs", 0, ""))
	say(prefix+"remount input", unix.Mount("", "/nix/store/dep", "", unix.MS_REMOUNT|unix.MS_BIND, ""))
	say(prefix+"remount root", unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, ""))
	say(prefix+"umount input", unix.Unmount("/nix/store/dep", unix.MNT_DETACH))
	say(prefix+"umount proc", unix.Unmount("/proc", unix.MNT_DETACH))
	say(prefix+"umount root", unix.Unmount("/", unix.MNT_DETACH))
	attr := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	say(prefix+"mount_setattr input", unix.MountSetattr(unix.AT_FDCWD, "/nix/store/dep", 0, &attr))
	say(prefix+"move input", unix.Mount("/nix/store/dep", "/build", "", unix.MS_MOVE, ""))
	// Without what is mounted on it.
	_ = unix.Mkdir("/build/alone", 0o755)
	say(prefix+"bind store alone", unix.Mount("/nix/store", "/build/alone", "", unix.MS_BIND, ""))
}

func privileges() {
	say("setuid 0", unix.Setuid(0))
	say("setgid 0", unix.Setgid(0))
	say("setgroups", unix.Setgroups([]int{0}))
	say("chroot", unix.Chroot("/tmp"))
	say("pivot_root", unix.PivotRoot("/tmp", "/tmp"))
	say("sethostname", unix.Sethostname([]byte("x")))
	say("mknod block", unix.Mknod("/build/disk", unix.S_IFBLK|0o666, 8<<8))
	say("mknod char", unix.Mknod("/build/mem", unix.S_IFCHR|0o666, 1<<8|1))
	say("mknod char in the store", unix.Mknod("/nix/store/mem", unix.S_IFCHR|0o666, 1<<8|1))
	call("open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, atCWD, ptr("12345678"), 0)
	call("init_module", unix.SYS_INIT_MODULE, 0, 0, 0)
	call("swapon", unix.SYS_SWAPON, ptr("/build"), 0)
	call("reboot", unix.SYS_REBOOT, unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2, unix.LINUX_REBOOT_CMD_CAD_OFF, 0)
	call("acct", unix.SYS_ACCT, ptr("/build/acct"))
	now := unix.Timespec{}
	_ = unix.ClockGettime(unix.CLOCK_REALTIME, &now)
	call("clock_settime", unix.SYS_CLOCK_SETTIME, unix.CLOCK_REALTIME, uintptr(unsafe.Pointer(&now)))
	say("nice", unix.Setpriority(unix.PRIO_PROCESS, 0, -10))
	say("raise core limit", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}))
	say("iopl", ioPorts())
}

// foreignFiles tries to change inputs, and to make them part of what is the builder's own.
func foreignFiles() {
	const input = "/nix/store/dep/file"
	_, err := unix.Open(input, unix.O_RDWR, 0)
	say("open input", err)
	fd, err := unix.Open(input, unix.O_RDONLY, 0)
	if err != nil {
		say("read input", err)
		return
	}
	self := fmt.Sprintf("/proc/self/fd/%d", fd)
	_, err = unix.Open(self, unix.O_RDWR, 0)
	say("open input again", err)
	say("truncate input", unix.Truncate(self, 0))
	say("chmod input", unix.Fchmod(fd, 0o777))
	say("chown input", unix.Fchown(fd, os.Getuid(), os.Getgid()))
	say("touch input", unix.UtimesNano(self, []unix.Timespec{{Sec: 9}, {Sec: 9}}))
	say("link input", unix.Link(input, "/nix/store/linked"))
	say("link descriptor", unix.Linkat(fd, "", unix.AT_FDCWD, "/nix/store/linked", unix.AT_EMPTY_PATH))
	say("link followed", unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, "/nix/store/linked", unix.AT_SYMLINK_FOLLOW))
	say("link passwd", unix.Link("/etc/passwd", "/build/passwd"))
	say("link device", unix.Link("/dev/null", "/build/null"))
	say("rename input", unix.Rename(input, "/build/file"))
	say("rename over input", rename("/nix/store/dep"))
	say("exchange input", unix.Renameat2(unix.AT_FDCWD, "/nix/store/dep", unix.AT_FDCWD, "/build/dir", unix.RENAME_EXCHANGE))
	_, err = unix.Mmap(fd, 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	say("map input", err)
	for _, p := range []string{"/nix/store/undeclared", "/proc/1/root/etc/shadow", "/proc/self/cwd/../../../../../etc/shadow", "/etc/shadow", "/root", "/home", "/var", "/usr", "/sys/kernel"} {
		_, err := unix.Open(p, unix.O_RDONLY, 0)
		say("open "+p, err)
	}
}

func rename(over string) error {
	if err := unix.Mkdir("/build/dir", 0o755); err != nil {
		return err
	}
	return unix.Rename("/build/dir", over)
}

// controls tries files by which the machine is steered.
func controls(prefix string) {
	for _, p := range []string{
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches", "/proc/sys/vm/overcommit_memory", "/proc/sys/fs/suid_dumpable",
		"/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/kcore", "/proc/kmsg", "/dev/mem", "/dev/kmsg",
	} {
		flags := unix.O_WRONLY
		if strings.HasPrefix(p, "/proc/k") {
			flags = unix.O_RDONLY
		}
		_, err := unix.Open(p, flags, 0)
		say(prefix+"open "+p, err)
	}
}

// nested is run by root of a user namespace inside of the builder's.
func nested() {
	mounts("nested ")
	controls("nested ")
	say("nested mknod block", unix.Mknod("/build/disk", unix.S_IFBLK|0o666, 8<<8))
	say("nested setxattr capability", unix.Setxattr("/proc/self/exe", "security.capability", make([]byte, 20), 0))
	say("nested chmod setuid", unix.Chmod("/build", 0o6755))
	_, err := unix.Open("/nix/store/dep/file", unix.O_RDWR, 0)
	say("nested open input", err)
	_ = unix.Mkdir("/build/group", 0o755)
	if unix.Mount("none", "/build/group", "cgroup2", 0, "") == nil {
		_, err = unix.Open("/build/group/cgroup.procs", unix.O_WRONLY, 0)
		if err == nil {
			err = unix.Mkdir("/build/group/child", 0o755)
		}
		say("nested control group", err)
	} else {
		say("nested control group", unix.EPERM)
	}
	// Out of a chroot, to what is the root of this mount namespace and not the host's.
	say("nested chroot", unix.Chroot("/build"))
	for range 20 {
		_ = unix.Chdir("..")
	}
	_, err = unix.Open("etc/shadow", unix.O_RDONLY, 0)
	say("nested open shadow", err)
}

// leave starts processes that try to outlive the build: in sessions of their own, orphaned, deaf to signals.
func leave(mark string) {
	for range 2 {
		cmd := exec.Command("/bin/busybox", "sh", "-c", "trap '' HUP INT TERM; (setsid sh -c \"trap '' HUP INT TERM; sleep 5"+mark+"\" &) & sleep 6"+mark)
		cmd.Env = []string{"PATH=/bin"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		say("start background", cmd.Start())
	}
}
