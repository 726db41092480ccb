package linux

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// A builtin builder is a function of this program. It could not run in the set-up process: a mount namespace, ids, capabilities
// and filters belong to threads, and that process has others. So the set-up process becomes this same program once more, by
// the one execve(2) that every builder begins with, and what holds for builders holds for builtins.
//
// The program and its shared libraries are no part of the sandbox; they come along as descriptors. The dynamic linker is
// executed, and told to load the libraries and the program from them:
//
//	/proc/self/fd/LINKER --argv0 larder-builtin --preload "/proc/self/fd/LIBRARY …" /proc/self/fd/PROGRAM
//
// Descriptor 3 has the call. Before the builtin's first instruction all these are closed again.

// image is this program, ready to be executed where its files are out of sight.
type image struct {
	path      string
	program   int
	linker    int // -1: the program is static
	libraries []int
}

// openImage opens the files that this process runs. It must be called while the host's files are in sight.
func openImage() (*image, error) {
	fail := func(op, path string, err error) (*image, error) {
		return nil, setupError(sandbox.StageExec, op, path, err)
	}
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fail("readlink", "/proc/self/exe", err)
	}
	m := &image{path: path, linker: -1}
	// Not by its path: a newer version may lie there by now.
	if m.program, err = openProgram("/proc/self/exe"); err != nil {
		return fail("open", path, err)
	}
	linker, err := interpreter(m.program)
	if err != nil {
		return fail("read", path, err)
	}
	if linker == "" {
		return m, nil
	}
	if m.linker, err = openProgram(linker); err != nil {
		return fail("open", linker, err)
	}
	mapped, err := mappedPrograms()
	if err != nil {
		return fail("read", "/proc/self/maps", err)
	}
	seen := map[fileID]bool{identify(m.program): true, identify(m.linker): true}
	for _, library := range mapped {
		if library == path {
			continue // which perhaps cannot be opened by its path
		}
		fd, err := openProgram(library)
		if err != nil {
			return fail("open", library, err)
		}
		if id := identify(fd); seen[id] {
			unix.Close(fd)
		} else {
			seen[id] = true
			m.libraries = append(m.libraries, fd)
		}
	}
	return m, nil
}

func openProgram(path string) (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) }

// interpreter is the dynamic linker that the program names, "" if it needs none.
func interpreter(program int) (string, error) {
	// The file's own reader would close the descriptor.
	section, err := os.Open(descriptorPath(program))
	if err != nil {
		return "", err
	}
	defer section.Close()
	file, err := elf.NewFile(section)
	if err != nil {
		return "", err
	}
	for _, p := range file.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		if p.Filesz > unix.PathMax {
			return "", fmt.Errorf("the dynamic linker's name has %d bytes", p.Filesz)
		}
		name := make([]byte, p.Filesz)
		if _, err := p.ReadAt(name, 0); err != nil {
			return "", err
		}
		return unix.ByteSliceToString(name), nil
	}
	return "", nil
}

// mappedPrograms are the files of which code is mapped in this process, proc_pid_maps(5).
func mappedPrograms() ([]string, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	var files []string
	for line := range bytes.Lines(maps) {
		// address perms offset dev inode pathname; only the last may have spaces.
		fields := strings.SplitN(strings.TrimSuffix(string(line), "\n"), " ", 6)
		if len(fields) != 6 || !strings.Contains(fields[1], "x") {
			continue
		}
		if path := strings.TrimLeft(fields[5], " "); strings.HasPrefix(path, "/") {
			files = append(files, path)
		}
	}
	return files, nil
}

type fileID struct{ dev, ino uint64 }

func identify(fd int) fileID {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return fileID{}
	}
	return fileID{st.Dev, st.Ino}
}

func descriptorPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func (m *image) descriptors() []int {
	all := append([]int{m.program}, m.libraries...)
	if m.linker >= 0 {
		all = append(all, m.linker)
	}
	return all
}

// prepare makes the call of a builtin, and lets the image survive execve(2). This thread is the build's user already, who
// must be able to read the program.
func (m *image) prepare(s *sandbox.Spec) error {
	for _, fd := range m.descriptors() {
		again, err := openProgram(descriptorPath(fd))
		if err != nil {
			return setupError(sandbox.StageExec, "open", m.path, err)
		}
		unix.Close(again)
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return setupError(sandbox.StageExec, "fcntl", "", err)
		}
	}
	fd, err := unix.MemfdCreate("builtin", unix.MFD_CLOEXEC)
	if err != nil {
		return setupError(sandbox.StageExec, "memfd_create", "", err)
	}
	f := os.NewFile(uintptr(fd), "builtin")
	defer f.Close()
	c := call{name: s.Builtin, input: string(s.BuiltinInput), descriptors: m.descriptors()}
	if _, err := f.WriteAt(c.encode(), 0); err != nil {
		return setupError(sandbox.StageExec, "write", "", err)
	}
	// The socket of the handover was there, and is not needed any more.
	return setupError(sandbox.StageExec, "dup3", "", unix.Dup3(fd, inheritedFD, 0))
}

// exec executes the image. It returns only with an error.
func (m *image) exec() error {
	if m.linker < 0 {
		return syscall.Exec(descriptorPath(m.program), []string{builtinName}, nil)
	}
	var preload []string
	for _, fd := range m.libraries {
		preload = append(preload, descriptorPath(fd))
	}
	return syscall.Exec(descriptorPath(m.linker), []string{
		"ld.so", "--argv0", builtinName, "--preload", strings.Join(preload, " "), descriptorPath(m.program),
	}, nil)
}

// call is what a builtin's process is told.
type call struct {
	name, input string
	descriptors []int // those that are not the builtin's business
}

func (c *call) eachField(f fields) {
	f.str(&c.name)
	f.str(&c.input)
	f.list(len(c.descriptors), func(n int) { c.descriptors = make([]int, n) })
	for i := range c.descriptors {
		integer(f, &c.descriptors[i])
	}
}

func (c *call) encode() []byte {
	e := &encoder{}
	c.eachField(e)
	return e.out
}

// runBuiltin is the main program of a process that prepare and exec have made.
func runBuiltin(builtins []sandbox.Builtin) error {
	data, err := os.ReadFile(descriptorPath(inheritedFD))
	if err != nil {
		return err
	}
	var c call
	d := &decoder{in: data}
	if c.eachField(d); d.failed || len(d.in) > 0 {
		return errJob
	}
	for _, fd := range append(c.descriptors, inheritedFD) {
		unix.Close(fd)
	}
	for _, b := range builtins {
		if b.Name == c.name {
			return b.Run([]byte(c.input))
		}
	}
	return fmt.Errorf("unsupported builtin builder '%s'", c.name)
}
