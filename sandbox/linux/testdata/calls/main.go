// Program calls makes the system calls that a sandbox must refuse, and prints what each gave, one line a call.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	switch os.Args[1] {
	case "modes":
		modes()
	case "escapes":
		escapes(os.Args[2])
	case "nested":
		tryAll("nested ")
	case "socket":
		connect(os.Args[2])
	case "name":
		fmt.Println("name", os.Args[0])
	}
}

func say(name string, err error) {
	errno, ok := err.(unix.Errno)
	switch {
	case err == nil || ok && errno == 0:
		fmt.Println(name, "ok")
	case ok:
		fmt.Println(name, unix.ErrnoName(errno))
	default:
		fmt.Println(name, err)
	}
}

func call(name string, number uintptr, args ...uintptr) uintptr {
	var a [6]uintptr
	copy(a[:], args)
	r, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	say(name, errno)
	return r
}

func ptr(s string) uintptr {
	b, _ := unix.BytePtrFromString(s)
	return uintptr(unsafe.Pointer(b))
}

var atCWD = ^uintptr(99) // AT_FDCWD, -100

func modes() {
	fd, err := unix.Open("f", unix.O_RDWR|unix.O_CREAT, 0o644)
	if err != nil {
		say("open", err)
		return
	}
	for _, mode := range []uintptr{0o4755, 0o2755, 0o6755, 0o755} {
		m := strconv.FormatInt(int64(mode), 8) + " "
		call(m+"chmod", unix.SYS_CHMOD, ptr("f"), mode)
		call(m+"fchmod", unix.SYS_FCHMOD, uintptr(fd), mode)
		call(m+"fchmodat", unix.SYS_FCHMODAT, atCWD, ptr("f"), mode)
		call(m+"fchmodat2", unix.SYS_FCHMODAT2, atCWD, ptr("f"), mode, 0)
		call(m+"creat", unix.SYS_CREAT, ptr("g"+m), mode)
		call(m+"open", unix.SYS_OPEN, ptr("h"+m), unix.O_CREAT|unix.O_WRONLY, mode)
		call(m+"openat", unix.SYS_OPENAT, atCWD, ptr("i"+m), unix.O_CREAT|unix.O_WRONLY, mode)
		call(m+"openat-tmpfile", unix.SYS_OPENAT, atCWD, ptr("."), unix.O_TMPFILE|unix.O_RDWR, mode)
		call(m+"open-existing", unix.SYS_OPENAT, atCWD, ptr("f"), unix.O_RDONLY, mode)
		call(m+"mknod", unix.SYS_MKNOD, ptr("j"+m), unix.S_IFREG|mode, 0)
		call(m+"mknodat", unix.SYS_MKNODAT, atCWD, ptr("k"+m), unix.S_IFIFO|mode, 0)
	}
	var st unix.Stat_t
	say("stat", unix.Stat("f", &st))
	fmt.Printf("mode %o\n", st.Mode&0o7777)

	how := unix.OpenHow{Flags: unix.O_CREAT | unix.O_WRONLY, Mode: 0o4755}
	call("openat2", unix.SYS_OPENAT2, atCWD, ptr("l"), uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how))
	call("io_uring_setup", unix.SYS_IO_URING_SETUP, 1, 0)
	call("io_uring_enter", unix.SYS_IO_URING_ENTER, uintptr(fd), 0, 0, 0, 0, 0)
	call("io_uring_register", unix.SYS_IO_URING_REGISTER, uintptr(fd), 0, 0, 0)
	call("setxattr", unix.SYS_SETXATTR, ptr("f"), ptr("user.x"), ptr("v"), 1, 0)
	call("lsetxattr", unix.SYS_LSETXATTR, ptr("f"), ptr("user.x"), ptr("v"), 1, 0)
	call("fsetxattr", unix.SYS_FSETXATTR, uintptr(fd), ptr("user.x"), ptr("v"), 1, 0)
	call("setxattrat", 463, atCWD, ptr("f"), 0, ptr("user.x"), 0, 0)
	call("removexattr", unix.SYS_REMOVEXATTR, ptr("f"), ptr("user.x"))
	call("lremovexattr", unix.SYS_LREMOVEXATTR, ptr("f"), ptr("user.x"))
	call("fremovexattr", unix.SYS_FREMOVEXATTR, uintptr(fd), ptr("user.x"))
	call("removexattrat", 466, atCWD, ptr("f"), 0, ptr("user.x"))
}

func escapes(hostPID string) {
	pid, _ := strconv.Atoi(hostPID)
	tryAll("")
	say("kill host", unix.Kill(pid, unix.SIGKILL))
	call("ptrace host", unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(pid), 0, 0)
	say("setuid 0", unix.Setuid(0))
	say("chroot", unix.Chroot("/tmp"))
	say("sethostname", unix.Sethostname([]byte("x")))
	say("mknod block", unix.Mknod("/build/disk", unix.S_IFBLK|0o666, 8<<8))
	say("mknod char", unix.Mknod("/build/mem", unix.S_IFCHR|0o666, 1<<8|1))
	call("open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, atCWD, ptr("12345678"), 0)
	for _, p := range []string{"/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches"} {
		_, err := unix.Open(p, unix.O_WRONLY, 0)
		say("open "+p, err)
	}
	// A user namespace of one's own gives capabilities, over nothing that came from outside.
	cmd := exec.Command("/proc/self/exe", "nested")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWNS | unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
	}
	if err := cmd.Run(); err != nil {
		fmt.Println("nested start", err)
	}
}

func tryAll(prefix string) {
	say(prefix+"mount", unix.Mount("none", "/tmp", "tmpfs", 0, ""))
	say(prefix+"remount input", unix.Mount("", "/nix/store/dep", "", unix.MS_REMOUNT|unix.MS_BIND, ""))
	say(prefix+"remount root", unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, ""))
	say(prefix+"umount input", unix.Unmount("/nix/store/dep", unix.MNT_DETACH))
	say(prefix+"umount proc", unix.Unmount("/proc", unix.MNT_DETACH))
}

func connect(name string) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	say("socket", err)
	say("connect", unix.Connect(fd, &unix.SockaddrUnix{Name: name}))
}
