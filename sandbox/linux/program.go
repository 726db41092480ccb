package linux

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// program is a list of system calls, written here and made by a child process between clone(2) and execve(2), where neither Go
// nor the C library can run (child.c). Each call must succeed, or fail with the error that it may fail with; else the child tells
// which one did not, and exits.
//
// What a program depends on is looked up while it is written, by the daemon; descriptors that only the child will have are
// slots.
type program struct {
	calls       []call
	steps       []step // what each call is for
	relocations []uint64
	data        []byte
	slots       int
}

// step says what a call is for, if it fails.
type step struct {
	stage sandbox.Stage
	op    string
	path  string
}

// slot keeps the result of a call, which is a descriptor.
type slot int

// These are open when a program begins: see child.c.
const (
	handoverFD = inheritedFD
	jobFD      = 4
	terminalFD = 5
)

// none as an argument is a null pointer.
const none = 0

// call is struct operation of child.c.
type call struct {
	number, result, ignored, skipped int32
	kind                             [8]uint8
	argument                         [6]uint64
}

const (
	callSize = 4*4 + 8 + 6*8

	kindNumber  = 0
	kindPointer = 1
	kindSlot    = 2
)

// call adds a system call. Its arguments are integers, slots, strings and []bytes; of the latter two, which are pointers
// for the kernel, strings get a zero byte at the end.
func (p *program) call(s step, number uintptr, arguments ...any) *call {
	c := call{number: int32(number), result: -1}
	for i, a := range arguments {
		switch a := a.(type) {
		case int:
			c.argument[i] = uint64(a)
		case uint64:
			c.argument[i] = a
		case slot:
			c.kind[i], c.argument[i] = kindSlot, uint64(a)
		case string:
			c.kind[i], c.argument[i] = kindPointer, p.add([]byte(a+"\x00"))
		case []byte:
			c.kind[i], c.argument[i] = kindPointer, p.add(a)
		case vector:
			c.kind[i], c.argument[i] = kindPointer, uint64(a)
		default:
			panic(fmt.Sprintf("an argument of type %T", a)) // a mistake in this package
		}
	}
	p.calls, p.steps = append(p.calls, c), append(p.steps, s)
	return &p.calls[len(p.calls)-1]
}

// ignore lets the call fail with this error.
func (c *call) ignore(errno syscall.Errno) { c.ignored = int32(errno) }

// open adds a system call that returns a descriptor.
func (p *program) open(s step, number uintptr, arguments ...any) slot {
	fd := slot(p.slots)
	p.slots++
	p.call(s, number, arguments...).result = int32(fd)
	return fd
}

// unless lets the last call fail with errno, and then leaves out the calls that follow adds.
func (p *program) unless(errno syscall.Errno, follow func()) {
	last := len(p.calls) - 1
	follow()
	p.calls[last].ignored, p.calls[last].skipped = int32(errno), int32(len(p.calls)-1-last)
}

func (p *program) close(fd slot) { p.call(step{sandbox.StageLaunch, "close", ""}, unix.SYS_CLOSE, fd) }

// add puts b where pointers can point to, and returns its offset.
func (p *program) add(b []byte) uint64 {
	p.data = append(p.data, make([]byte, -len(p.data)&7)...) // for structures
	offset := len(p.data)
	p.data = append(p.data, b...)
	return uint64(offset)
}

// vector is the offset of a structure with pointers.
type vector uint64

// strings adds what execve(2) takes: pointers to the strings, and a null pointer.
func (p *program) strings(list []string) vector {
	var pointers []byte
	for _, s := range list {
		pointers = binary.NativeEndian.AppendUint64(pointers, p.add([]byte(s+"\x00")))
	}
	offset := p.add(append(pointers, make([]byte, 8)...))
	for i := range list {
		p.relocations = append(p.relocations, offset+8*uint64(i))
	}
	return vector(offset)
}

// pointerAfter adds a structure that is head and a pointer to b.
func (p *program) pointerAfter(head, b []byte) vector {
	to := p.add(b)
	offset := p.add(binary.NativeEndian.AppendUint64(head, to))
	p.relocations = append(p.relocations, offset+uint64(len(head)))
	return vector(offset)
}

// encode is the program as child.c reads it, after its length.
func (p *program) encode() []byte {
	size := 4*8 + len(p.calls)*callSize + len(p.relocations)*8 + p.slots*8 + len(p.data)
	out := binary.NativeEndian.AppendUint64(make([]byte, 0, 8+size), uint64(size))
	for _, n := range []int{len(p.calls), len(p.relocations), p.slots, len(p.data)} {
		out = binary.NativeEndian.AppendUint64(out, uint64(n))
	}
	for i := range p.calls {
		c := &p.calls[i]
		for _, n := range []int32{c.number, c.result, c.ignored, c.skipped} {
			out = binary.NativeEndian.AppendUint32(out, uint32(n))
		}
		out = append(out, c.kind[:]...)
		for _, n := range c.argument {
			out = binary.NativeEndian.AppendUint64(out, n)
		}
	}
	for _, n := range p.relocations {
		out = binary.NativeEndian.AppendUint64(out, n)
	}
	out = append(out, make([]byte, 8*p.slots)...)
	return append(out, p.data...)
}

// fault reads what the child says of a call that failed.
func (p *program) fault(said []byte) error {
	if len(said) != 8 {
		return setupError(sandbox.StageLaunch, "", "", fmt.Errorf("the child was cut off: %q", said))
	}
	number, errno := int32(binary.NativeEndian.Uint32(said)), syscall.Errno(binary.NativeEndian.Uint32(said[4:]))
	s := step{sandbox.StageLaunch, "read job", ""}
	if number >= 0 && int(number) < len(p.steps) {
		s = p.steps[number]
	}
	return setupError(s.stage, s.op, s.path, errno)
}
