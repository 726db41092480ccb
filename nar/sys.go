package nar

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"larder/nar/tree"
)

// System calls, relative to descriptors and repeated when a signal interrupts them (they do, on FUSE and network file
// systems). Errors are plain errnos; callers know the path.

func read(fd int, p []byte) (n int, err error) {
	err = tree.Retry(func() error {
		n, err = unix.Read(fd, p)
		return err
	})
	return max(n, 0), err
}

func writeFull(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err != nil && err != unix.EINTR {
			return err
		}
		p = p[max(n, 0):]
	}
	return nil
}

// readlinkAt returns the target of a symlink, which may be up to MaxTarget bytes.
func readlinkAt(dirfd int, name string) (string, error) {
	var buf [MaxTarget + 1]byte
	var n int
	err := tree.Retry(func() (err error) {
		n, err = unix.Readlinkat(dirfd, name, buf[:])
		return err
	})
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// canonicalTimes leaves the access time alone and sets the modification time to one second after the epoch.
var canonicalTimes = [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: 1}}

// setTimes is futimens(2), which package unix offers only by way of /proc.
func setTimes(fd int, times *[2]unix.Timespec) error {
	return tree.Retry(func() error {
		_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(times)), 0, 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// dirent is a name in a directory, and its DT_ type, which may be DT_UNKNOWN.
type dirent struct {
	name string
	typ  byte
}

// direntBuffer is how much of a directory one system call reads.
const direntBuffer = 32 << 10

// readDirents reads the next batch of names from a directory and appends them, without "." and "..", to list. It reports
// whether the end was reached. buf is scratch space of direntBuffer bytes.
func readDirents(fd int, buf []byte, list []dirent) (_ []dirent, end bool, err error) {
	var n int
	err = tree.Retry(func() error {
		n, err = unix.Getdents(fd, buf)
		return err
	})
	if err != nil || n <= 0 {
		return list, true, err
	}
	batch := string(buf[:n]) // one allocation for all names
	const header = 19        // struct linux_dirent64: d_ino u64, d_off u64, d_reclen u16, d_type u8, d_name
	for at := 0; at < n; {
		if n-at < header {
			return list, true, errors.New("getdents: cut off")
		}
		size := int(binary.NativeEndian.Uint16(buf[at+16:]))
		if size < header || size > n-at {
			return list, true, fmt.Errorf("getdents: record of %d bytes", size)
		}
		length := bytes.IndexByte(buf[at+header:at+size], 0)
		if length < 0 {
			return list, true, errors.New("getdents: name without end")
		}
		name := batch[at+header : at+header+length]
		if name != "." && name != ".." {
			list = append(list, dirent{name: name, typ: buf[at+18]})
		}
		at += size
	}
	return list, false, nil
}

// typeOf is the DT_ type of a mode.
func typeOf(mode uint32) byte { return byte(mode & unix.S_IFMT >> 12) }
