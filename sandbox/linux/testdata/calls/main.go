// Program calls makes the system calls that a sandbox must refuse, and prints what each gave, one line a call.
package main

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	switch os.Args[1] {
	case "modes":
		modes()
	case "escapes":
		escapes(os.Args[2:])
	case "nested":
		nested()
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

func connect(name string) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	say("socket", err)
	say("connect", unix.Connect(fd, &unix.SockaddrUnix{Name: name}))
}
