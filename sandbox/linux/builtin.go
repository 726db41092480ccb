package linux

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// A builtin builder is a function of this program. It could not run in the child: neither Go nor the C library can, there.
// So the child becomes this same program once more, by
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
	path  string
	files []slot   // the program, the dynamic linker if there is one, and libraries
	names []string // of the files
}

// openImage opens the files that this process runs. It must be called while the host's files are in sight.
func (p *program) openImage() (*image, error) {
	fail := func(op, path string, err error) (*image, error) {
		return nil, setupError(sandbox.StageExec, op, path, err)
	}
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fail("readlink", "/proc/self/exe", err)
	}
	linker, err := interpreter()
	if err != nil {
		return fail("read", path, err)
	}
	// Not by its path: a newer version may lie there by now.
	m := &image{path: path, names: []string{"/proc/self/exe"}}
	if linker != "" {
		mapped, err := mappedPrograms()
		if err != nil {
			return fail("read", "/proc/self/maps", err)
		}
		m.names = append(m.names, linker)
		seen := map[fileID]bool{identify("/proc/self/exe"): true, identify(linker): true}
		for _, library := range mapped {
			if library == path {
				continue // which perhaps cannot be opened by its path
			}
			if id := identify(library); !seen[id] {
				seen[id] = true
				m.names = append(m.names, library)
			}
		}
	}
	for _, name := range m.names {
		m.files = append(m.files, p.openFile(name))
	}
	return m, nil
}

func (p *program) openFile(name string) slot {
	return p.open(step{sandbox.StageExec, "open", name}, unix.SYS_OPENAT, unix.AT_FDCWD, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// interpreter is the dynamic linker that this program names, "" if it needs none.
func interpreter() (string, error) {
	file, err := elf.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer file.Close()
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

func identify(name string) fileID {
	var st unix.Stat_t
	if unix.Stat(name, &st) != nil {
		return fileID{}
	}
	return fileID{st.Dev, st.Ino}
}

func descriptorPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// firstNumbered and those after it are descriptors whose numbers have to be known beforehand.
const firstNumbered = 200

// renumber gives a descriptor that number, and returns its name for who opens it by that.
func (p *program) renumber(fd slot, number int) string {
	p.call(step{sandbox.StageLaunch, "dup3", ""}, unix.SYS_DUP3, fd, number, unix.O_CLOEXEC)
	p.close(fd)
	return descriptorPath(number)
}

// prepareBuiltin makes the call of a builtin, and lets the image survive execve(2). The child is the build's user already, who
// must be able to read the program.
func (p *program) prepareBuiltin(m *image, s *sandbox.Spec) error {
	c := builtinCall{Name: s.Builtin, Input: s.BuiltinInput}
	for i, fd := range m.files {
		c.Descriptors = append(c.Descriptors, firstNumbered+i)
		p.close(p.openFile(p.renumber(fd, firstNumbered+i)))
		p.call(step{sandbox.StageExec, "fcntl", ""}, unix.SYS_FCNTL, firstNumbered+i, unix.F_SETFD, 0)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return setupError(sandbox.StageSpec, "", "", err)
	}
	fd := p.open(step{sandbox.StageExec, "memfd_create", ""}, unix.SYS_MEMFD_CREATE, "builtin", unix.MFD_CLOEXEC)
	p.call(step{sandbox.StageExec, "ftruncate", ""}, unix.SYS_FTRUNCATE, fd, len(text))
	p.call(step{sandbox.StageExec, "write", ""}, unix.SYS_PWRITE64, fd, text, len(text), 0)
	// The socket of the handover was there, and is not needed any more.
	p.call(step{sandbox.StageExec, "dup3", ""}, unix.SYS_DUP3, fd, inheritedFD, 0)
	return nil
}

// command is what executes the image.
func (m *image) command() (file string, arguments []string) {
	names := make([]string, len(m.files))
	for i := range m.files {
		names[i] = descriptorPath(firstNumbered + i)
	}
	if len(names) == 1 {
		return names[0], []string{builtinName}
	}
	return names[1], []string{"ld.so", "--argv0", builtinName, "--preload", strings.Join(names[2:], " "), names[0]}
}

// builtinCall is what a builtin's process is told.
type builtinCall struct {
	Name        string
	Input       []byte
	Descriptors []int // those that are not the builtin's business
}

// runBuiltin is the main program of a process that a program has made with prepareBuiltin.
func runBuiltin(builtins []sandbox.Builtin) error {
	data, err := os.ReadFile(descriptorPath(inheritedFD))
	if err != nil {
		return err
	}
	var c builtinCall
	if err := json.Unmarshal(data, &c); err != nil {
		return err
	}
	for _, fd := range append(c.Descriptors, inheritedFD) {
		unix.Close(fd)
	}
	for _, b := range builtins {
		if b.Name == c.Name {
			return b.Run(c.Input)
		}
	}
	return fmt.Errorf("unsupported builtin builder '%s'", c.Name)
}
