// Toucher does one thing with a path, with system calls that do not retry, and
// prints "ok" and what it saw, or the name of the errno. Tests that mount start it,
// because a process must not wait in its own mount.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	said, err := operations[os.Args[1]](os.Args[2:])
	if err != nil {
		var errno unix.Errno
		if errors.As(err, &errno) {
			fmt.Println(unix.ErrnoName(errno))
		} else {
			fmt.Println(err)
		}
		os.Exit(1)
	}
	fmt.Println(strings.TrimSpace("ok " + said))
}

var operations = map[string]func(args []string) (string, error){
	"stat": func(a []string) (string, error) {
		var st unix.Stat_t
		err := unix.Stat(a[0], &st)
		return fmt.Sprintf("%o", st.Mode), err
	},
	"lstat": func(a []string) (string, error) {
		var st unix.Stat_t
		err := unix.Lstat(a[0], &st)
		return fmt.Sprintf("%o", st.Mode), err
	},
	"statx": func(a []string) (string, error) {
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, a[0], unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
		return fmt.Sprintf("%o", st.Mode), err
	},
	"read": func(a []string) (string, error) {
		fd, err := unix.Open(a[0], unix.O_RDONLY, 0)
		if err != nil {
			return "", err
		}
		b := make([]byte, 1<<16)
		n, err := unix.Read(fd, b)
		return string(b[:max(n, 0)]), err
	},
	"opath": func(a []string) (string, error) {
		fd, err := unix.Open(a[0], unix.O_PATH|unix.O_NOFOLLOW, 0)
		if err != nil {
			return "", err
		}
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		return fmt.Sprintf("%o", st.Mode), err
	},
	"exec": func(a []string) (string, error) { return "", unix.Exec(a[0], a, os.Environ()) },
	"readdir": func(a []string) (string, error) {
		fd, err := unix.Open(a[0], unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return "", err
		}
		var names []string
		b := make([]byte, 1<<16)
		for {
			n, err := unix.Getdents(fd, b)
			if err != nil || n <= 0 {
				return strings.Join(names, " "), err
			}
			_, _, names = unix.ParseDirent(b[:n], -1, names)
		}
	},
	"access":   func(a []string) (string, error) { return "", unix.Access(a[0], unix.R_OK) },
	"chdir":    func(a []string) (string, error) { return "", unix.Chdir(a[0]) },
	"mkdir":    func(a []string) (string, error) { return "", unix.Mkdir(a[0], 0o755) },
	"realpath": func(a []string) (string, error) { return filepath.EvalSymlinks(a[0]) },
	"readlink": func(a []string) (string, error) {
		b := make([]byte, unix.PathMax)
		n, err := unix.Readlink(a[0], b)
		return string(b[:max(n, 0)]), err
	},
	// stormy does what a busy Go program does: its threads are preempted
	// by SIGURG all the time, also the one that executes a program.
	"stormy": func(a []string) (string, error) {
		pid, tid := unix.Getpid(), unix.Gettid()
		go func() {
			for {
				unix.Tgkill(pid, tid, unix.SIGURG)
				time.Sleep(time.Millisecond)
			}
		}()
		var st unix.Stat_t
		if err := unix.Stat(a[0], &st); err != nil {
			return "", err
		}
		return "", unix.Exec(a[1], a[1:], os.Environ())
	},
}
