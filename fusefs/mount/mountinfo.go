package mount

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// fsType is the type of our mounts, as mountinfo shows it.
const fsType = "fuse.larder"

// mounted is one line of /proc/self/mountinfo, see proc_pid_mountinfo(5).
type mounted struct {
	id           int
	major, minor uint32
	point        string
	fsType       string
}

func readMounts() ([]mounted, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []mounted
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if m, ok := parseMount(s.Text()); ok {
			list = append(list, m)
		}
	}
	return list, s.Err()
}

// parseMount reads a line such as
//
//	36 35 98:0 /root /mnt rw,noatime shared:1 - ext3 /dev/root rw,errors=continue
func parseMount(line string) (m mounted, ok bool) {
	left, right, ok := strings.Cut(line, " - ")
	fields := strings.Fields(left)
	if !ok || len(fields) < 6 {
		return m, false
	}
	if _, err := fmt.Sscanf(fields[2], "%d:%d", &m.major, &m.minor); err != nil {
		return m, false
	}
	id, err := strconv.Atoi(fields[0])
	m.id, m.point = id, unescape(fields[4])
	m.fsType, _, _ = strings.Cut(right, " ")
	return m, err == nil
}

// unescape undoes \040 and the like.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// top returns the mount that is uppermost at a directory.
func top(dir string) (m mounted, found bool, err error) {
	list, err := readMounts()
	for _, l := range list {
		if l.point == dir {
			m, found = l, true
		}
	}
	return m, found, err
}

// watch calls gone, once, when m is no longer mounted in our namespace, and
// returns then or after quit could be read.
func watch(m mounted, quit *os.File, gone func()) error {
	// Not an os.File: the Go runtime would poll it too, and whoever polls first
	// takes the event.
	fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/proc/self/mountinfo", Err: err}
	}
	defer unix.Close(fd)
	for {
		list, err := readMounts()
		if err != nil {
			return err
		}
		if !contains(list, m) {
			gone()
			return nil
		}
		// A change since it was opened, or since the last poll, is an exceptional condition.
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}, {Fd: int32(quit.Fd()), Events: unix.POLLIN | unix.POLLHUP}}
		if _, err := unix.Poll(p, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
		if p[1].Revents != 0 {
			return nil
		}
	}
}

func contains(list []mounted, m mounted) bool {
	for _, l := range list {
		if l.id == m.id && l.minor == m.minor && l.point == m.point {
			return true
		}
	}
	return false
}
