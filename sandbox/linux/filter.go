package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"unsafe"

	seccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// The system call filter keeps out of build outputs what a store object cannot have: set-user-id and set-group-id bits,
// which would let a build leave a program that runs as the build's user, and extended attributes, which NARs cannot
// express. It is no wall around the kernel; namespaces are that.
//
// A filter sees registers, not memory. Calls that take their mode or work through memory (openat2, io_uring) are answered
// with ENOSYS, as by an older kernel, and programs fall back to what the filter can see.

// modeArguments: calls that set a file mode, and which argument that is.
var modeArguments = []struct {
	name     string
	number   int // for a libseccomp that does not know the name; 0: all know it
	argument uint
}{
	{"chmod", 0, 1}, {"fchmod", 0, 1}, {"fchmodat", 0, 2}, {"fchmodat2", 452, 2}, {"creat", 0, 1}, {"mknod", 0, 1}, {"mknodat", 0, 2},
}

// openCalls have a mode only where the flags, the argument before it, say that a file is made.
var openCalls = []struct {
	name  string
	flags uint
}{{"open", 1}, {"openat", 2}}

var deniedCalls = []struct {
	name   string
	number int
	errno  unix.Errno
}{
	{"openat2", 437, unix.ENOSYS},
	{"io_uring_setup", 425, unix.ENOSYS}, {"io_uring_enter", 426, unix.ENOSYS}, {"io_uring_register", 427, unix.ENOSYS},
	{"setxattr", 0, unix.ENOTSUP}, {"lsetxattr", 0, unix.ENOTSUP}, {"fsetxattr", 0, unix.ENOTSUP}, {"setxattrat", 463, unix.ENOTSUP},
	{"removexattr", 0, unix.ENOTSUP}, {"lremovexattr", 0, unix.ENOTSUP}, {"fremovexattr", 0, unix.ENOTSUP}, {"removexattrat", 466, unix.ENOTSUP},
}

// otherABIs are the system call tables that programs can use besides the native one.
var otherABIs = map[string][]seccomp.ScmpArch{
	"amd64": {seccomp.ArchX86, seccomp.ArchX32},
	"arm64": {seccomp.ArchARM},
}

// compileFilter makes the seccomp program, an array of struct sock_filter.
func compileFilter() ([]byte, error) {
	filter, err := seccomp.NewFilter(seccomp.ActAllow)
	if err != nil {
		return nil, err
	}
	defer filter.Release()
	for _, arch := range otherABIs[runtime.GOARCH] {
		if err := filter.AddArch(arch); err != nil {
			return nil, fmt.Errorf("architecture %s: %w", arch, err)
		}
	}
	// What the library has no name for is decided by instructions of our own that run first.
	var own []unix.SockFilter
	for _, c := range deniedCalls {
		call, err := seccomp.GetSyscallFromName(c.name)
		switch {
		case err == nil:
			err = filter.AddRule(call, seccomp.ActErrno.SetReturnCode(int16(c.errno)))
		case c.number != 0:
			own, err = append(own, denyByNumber(c.number, c.errno)...), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	for _, c := range modeArguments {
		call, err := seccomp.GetSyscallFromName(c.name)
		switch {
		case err == nil:
			err = denyMode(filter, call, c.argument)
		case c.number != 0:
			own, err = append(own, denyModeByNumber(c.number, c.argument)...), nil
		case knownAbsent(c.name):
			err = nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	for _, c := range openCalls {
		call, err := seccomp.GetSyscallFromName(c.name)
		if err == nil {
			for _, creates := range []uint64{unix.O_CREAT, unix.O_TMPFILE &^ unix.O_DIRECTORY} {
				if err = denyMode(filter, call, c.flags+1, bitsSet(c.flags, creates)); err != nil {
					break
				}
			}
		}
		if err != nil && !knownAbsent(c.name) {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	program, err := export(filter)
	if err != nil {
		return nil, err
	}
	return append(encode(own), program...), nil
}

// knownAbsent: newer architectures never had these calls.
func knownAbsent(name string) bool {
	if runtime.GOARCH == "amd64" {
		return false
	}
	switch name {
	case "chmod", "creat", "mknod", "open":
		return true
	}
	return false
}

func bitsSet(argument uint, bits uint64) seccomp.ScmpCondition {
	return seccomp.ScmpCondition{Argument: argument, Op: seccomp.CompareMaskedEqual, Operand1: bits, Operand2: bits}
}

// denyMode refuses call where its mode has a set-user-id or set-group-id bit and the conditions hold.
func denyMode(filter *seccomp.ScmpFilter, call seccomp.ScmpSyscall, argument uint, conditions ...seccomp.ScmpCondition) error {
	for _, bit := range []uint64{unix.S_ISUID, unix.S_ISGID} {
		all := append([]seccomp.ScmpCondition{bitsSet(argument, bit)}, conditions...)
		if err := filter.AddRuleConditional(call, seccomp.ActErrno.SetReturnCode(int16(unix.EPERM)), all); err != nil {
			return err
		}
	}
	return nil
}

// Offsets in struct seccomp_data, seccomp(2).
const (
	offsetNumber    = 0
	offsetArguments = 16
	// x32Bit marks the calls of that ABI, which has the native numbers otherwise.
	x32Bit = 0x40000000
)

// denyByNumber answers a call with errno. Calls from 403 on have one number on all architectures that Larder runs on.
func denyByNumber(number int, errno unix.Errno) []unix.SockFilter {
	return append(matchNumber(number, 1), returnErrno(errno))
}

// denyModeByNumber answers a call with EPERM if its mode has a set-user-id or set-group-id bit.
func denyModeByNumber(number int, argument uint) []unix.SockFilter {
	return append(matchNumber(number, 3),
		// The low half of the argument: every machine that Larder runs on is little-endian.
		unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: uint32(offsetArguments + 8*argument)},
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: 1, K: unix.S_ISUID | unix.S_ISGID},
		returnErrno(unix.EPERM))
}

// matchNumber skips the next instructions unless the call has this number.
func matchNumber(number int, skip uint8) []unix.SockFilter {
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offsetNumber},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: ^uint32(x32Bit)},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: skip, K: uint32(number)},
	}
}

func returnErrno(errno unix.Errno) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)}
}

const instructionSize = int(unsafe.Sizeof(unix.SockFilter{}))

func encode(program []unix.SockFilter) []byte {
	var out []byte
	for _, i := range program {
		out = binary.NativeEndian.AppendUint16(out, i.Code)
		out = append(out, i.Jt, i.Jf)
		out = binary.NativeEndian.AppendUint32(out, i.K)
	}
	return out
}

// export gets the program out of the library, which before version 2.6 writes it to files only.
func export(filter *seccomp.ScmpFilter) ([]byte, error) {
	fd, err := unix.MemfdCreate("filter", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "filter")
	defer f.Close()
	if err := filter.ExportBPF(f); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	program, err := io.ReadAll(f)
	if err == nil && (len(program) == 0 || len(program)%instructionSize != 0) {
		err = errors.New("the library wrote no whole program")
	}
	return program, err
}

// installFilter makes the kernel apply the job's filter to the child and all that comes from it.
func (p *program) installFilter(j *job) {
	if len(j.Filter) == 0 {
		return
	}
	// struct sock_fprog: the number of instructions, and where they are.
	head := binary.NativeEndian.AppendUint64(nil, uint64(len(j.Filter)/instructionSize))
	p.privilege("seccomp", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, p.pointerAfter(head, j.Filter))
}
