package sandbox

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Validate says what is wrong with s, in one error that names the field. It looks at nothing on disk; a spec that passes
// may still fail to be set up.
func (s *Spec) Validate() error {
	for _, p := range []struct{ field, value string }{
		{"StoreDir", s.StoreDir}, {"BuildStore", s.BuildStore}, {"BuildDir", s.BuildDir},
	} {
		if err := checkField(p.field, p.value); err != nil {
			return err
		}
	}
	if err := s.validateProgram(); err != nil {
		return err
	}
	for _, p := range []struct{ field, value string }{
		{"Dir", s.Dir}, {"TmpDirInSandbox", s.TmpDirInSandbox}, {"TmpDir", s.TmpDir},
	} {
		if p.value == "" {
			continue
		}
		if err := checkField(p.field, p.value); err != nil {
			return err
		}
	}
	if s.BuildStore == s.BuildDir {
		return fmt.Errorf("BuildStore and BuildDir are both %q", s.BuildDir)
	}
	if err := s.validatePlaces(); err != nil {
		return err
	}
	if err := s.validateIDs(); err != nil {
		return err
	}
	for _, n := range []struct{ field, value string }{{"Hostname", s.Hostname}, {"Domainname", s.Domainname}} {
		if len(n.value) > 64 || strings.ContainsRune(n.value, 0) {
			return fmt.Errorf("%s %q: more than 64 bytes, or a NUL", n.field, n.value)
		}
	}
	if strings.ContainsRune(s.DevShmSize, 0) {
		return fmt.Errorf("DevShmSize %q has a NUL", s.DevShmSize)
	}
	if err := s.Cgroup.validate(); err != nil {
		return err
	}
	return s.validateMounts()
}

// validatePlaces looks at where the builder finds the store and its build directory.
func (s *Spec) validatePlaces() error {
	if s.NoChroot {
		if err := checkField("ObjectDir", s.ObjectDir); err != nil {
			return err
		}
		if nested(s.ObjectDir, s.BuildDir) {
			return fmt.Errorf("the build directory %q lies among the objects, which a builder must not change", s.BuildDir)
		}
		for _, name := range s.Absent {
			if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
				return fmt.Errorf("%q (Absent) is not the name of a store entry", name)
			}
		}
	}
	inside := s.InsideDir()
	for _, p := range []struct{ field, value string }{{"StoreDir", s.StoreDir}, {"build directory", inside}} {
		if reserved(p.value) && (!s.NoChroot || nested("/proc", p.value)) {
			return fmt.Errorf("%s %q: the sandbox has its own", p.field, p.value)
		}
	}
	if nested(s.StoreDir, inside) || nested(inside, s.StoreDir) {
		return fmt.Errorf("the store directory %q and the build directory %q contain one another", s.StoreDir, inside)
	}
	return nil
}

func (s *Spec) validateIDs() error {
	type id struct {
		field string
		value int
		least int
	}
	ids := []id{{"UID", s.UID, 0}, {"GID", s.GID, 0}, {"HostUID", s.HostUID, CallingUser}, {"HostGID", s.HostGID, CallingUser}}
	for _, g := range s.Groups {
		ids = append(ids, id{"Groups", g, 0})
	}
	for _, id := range ids {
		// The id 2^32-1 means "no change" to the kernel.
		if id.value < id.least || int64(id.value) >= 1<<32-1 {
			return fmt.Errorf("%s: %d is not an id", id.field, id.value)
		}
	}
	if s.UIDCount < 0 || max(s.UID, s.GID, s.HostUID, s.HostGID)+s.UIDCount >= 1<<32-1 {
		return fmt.Errorf("UIDCount %d leads to what is not an id", s.UIDCount)
	}
	if s.UIDCount > 1 && (s.NoChroot || min(s.HostUID, s.HostGID) <= 0) {
		return errors.New("a range of user ids (UIDCount) needs a sandbox, and ids that are not those of a user of this machine")
	}
	if len(s.Groups) > maxGroups {
		return fmt.Errorf("%d supplementary groups, more than %d", len(s.Groups), maxGroups)
	}
	return nil
}

// maxGroups is a little less than an id map may have lines.
const maxGroups = 300

// validateProgram looks at what is executed.
func (s *Spec) validateProgram() error {
	if s.Builtin != "" {
		if s.Builder != "" || len(s.Args) > 0 || len(s.Env) > 0 {
			return fmt.Errorf("with a builtin (%q) Builder, Args and Env mean nothing", s.Builtin)
		}
		return nil
	}
	if err := checkField("Builder", s.Builder); err != nil {
		return err
	}
	if len(s.Args) == 0 {
		return errors.New("the argument vector (Args) is empty, not even the builder's own name is there")
	}
	return checkStrings(s.Args, s.Env)
}

func (s *Spec) validateMounts() error {
	seen := make(map[string]string, len(s.Mounts))
	for _, m := range s.Mounts {
		if s.NoChroot && !nested(s.StoreDir, m.Target) {
			continue // not used
		}
		if err := checkPath(m.Source); err != nil {
			return fmt.Errorf("mount source %q: %w", m.Source, err)
		}
		if err := checkPath(m.Target); err != nil {
			return fmt.Errorf("mount target %q: %w", m.Target, err)
		}
		switch {
		case m.Target == "/proc":
			continue // not used
		case m.Target == "/" || m.Target == s.StoreDir || m.Target == s.InsideDir() || nested("/proc", m.Target):
			return fmt.Errorf("mount target %q: the sandbox has its own", m.Target)
		case nested(m.Target, s.StoreDir) || nested(m.Target, s.InsideDir()):
			return fmt.Errorf("mount target %q would hide the store or the build directory", m.Target)
		}
		if other, ok := seen[m.Target]; ok {
			return fmt.Errorf("%q and %q would both be mounted at %q", other, m.Source, m.Target)
		}
		seen[m.Target] = m.Source
	}
	return nil
}

func checkField(field, p string) error {
	if err := checkPath(p); err != nil {
		return fmt.Errorf("%s %q: %w", field, p, err)
	}
	return nil
}

func checkPath(p string) error {
	switch {
	case p == "":
		return errors.New("empty")
	case strings.ContainsRune(p, 0):
		return errors.New("has a NUL")
	case !path.IsAbs(p):
		return errors.New("not absolute")
	case path.Clean(p) != p:
		return errors.New("not in its shortest form")
	}
	return nil
}

func checkStrings(args, env []string) error {
	for _, a := range args {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("argument %q has a NUL", a)
		}
	}
	for _, e := range env {
		if strings.ContainsRune(e, 0) {
			return fmt.Errorf("environment entry %q has a NUL", e)
		}
		if strings.IndexByte(e, '=') < 0 {
			return fmt.Errorf("environment entry %q has no \"=\"", e)
		}
	}
	return nil
}

// reserved reports whether dir is, contains or lies in a directory that the sandbox makes itself.
func reserved(dir string) bool {
	for _, own := range []string{"/proc", "/dev", "/etc"} {
		if nested(own, dir) || nested(dir, own) {
			return true
		}
	}
	return dir == "/tmp"
}

// nested reports whether p is dir or lies below it.
func nested(dir, p string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}
