package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// int80 makes a system call of the 32-bit table from a 64-bit program.
func int80(number, a, b, c uintptr) int64

// otherTables tries the two tables besides its own that a 64-bit program can use.
func otherTables(m string, mode uintptr) {
	// Pointers of that table have 32 bits.
	low, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_32BIT)
	if err != nil {
		say(m+"int80", err)
		return
	}
	copy(low, "f\x00")
	page := uintptr(unsafe.Pointer(&low[0]))
	const chmod32, fchmodat32, x32 = 15, 306, 0x40000000
	say(m+"int80-chmod", outcome(int80(chmod32, page, mode, 0)))
	say(m+"int80-fchmodat", outcome(int80(fchmodat32, atCWD, page, mode)))
	call(m+"x32-chmod", x32|unix.SYS_CHMOD, ptr("f"), mode)
	call(m+"x32-fchmodat2", x32|unix.SYS_FCHMODAT2, atCWD, ptr("f"), mode, 0)
}

func outcome(r int64) error {
	if r < 0 {
		return unix.Errno(-r)
	}
	return nil
}
