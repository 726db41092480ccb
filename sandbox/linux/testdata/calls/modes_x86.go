//go:build amd64 || 386

package main

import (
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// modes tries all ways to set-user-id and set-group-id bits and to extended attributes.
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
		// Directories are made without these bits; chmod could add them.
		call(m+"mkdir", unix.SYS_MKDIR, ptr("l"+m), mode)
		call(m+"mkdirat", unix.SYS_MKDIRAT, atCWD, ptr("m"+m), mode)
		call(m+"chmod-directory", unix.SYS_CHMOD, ptr("l"+m), mode)
		otherTables(m, mode)
	}
	for _, name := range []string{"f", "l755 ", "l6755 ", "m6755 "} {
		var st unix.Stat_t
		say("stat "+name, unix.Stat(name, &st))
		fmt.Printf("mode of %s %o\n", strings.TrimSpace(name), st.Mode&0o7777)
	}

	how := unix.OpenHow{Flags: unix.O_CREAT | unix.O_WRONLY, Mode: 0o4755}
	call("openat2", unix.SYS_OPENAT2, atCWD, ptr("n"), uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how))
	call("io_uring_setup", unix.SYS_IO_URING_SETUP, 1, 0)
	call("io_uring_enter", unix.SYS_IO_URING_ENTER, uintptr(fd), 0, 0, 0, 0, 0)
	call("io_uring_register", unix.SYS_IO_URING_REGISTER, uintptr(fd), 0, 0, 0)
	for _, name := range []string{"user.x", "security.capability", "system.posix_acl_access", "system.posix_acl_default"} {
		call("setxattr "+name, unix.SYS_SETXATTR, ptr("f"), ptr(name), ptr("v"), 1, 0)
	}
	call("lsetxattr", unix.SYS_LSETXATTR, ptr("f"), ptr("user.x"), ptr("v"), 1, 0)
	call("fsetxattr", unix.SYS_FSETXATTR, uintptr(fd), ptr("user.x"), ptr("v"), 1, 0)
	call("setxattrat", 463, atCWD, ptr("f"), 0, ptr("user.x"), 0, 0)
	call("removexattr", unix.SYS_REMOVEXATTR, ptr("f"), ptr("user.x"))
	call("lremovexattr", unix.SYS_LREMOVEXATTR, ptr("f"), ptr("user.x"))
	call("fremovexattr", unix.SYS_FREMOVEXATTR, uintptr(fd), ptr("user.x"))
	call("removexattrat", 466, atCWD, ptr("f"), 0, ptr("user.x"))
}
