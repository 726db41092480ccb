package linux

import (
	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// writeProgram writes what the child does to become the builder. The child is process 1 of its process namespace, in a
// user namespace of its own as a rule, and has setupCapabilities at least.
func writeProgram(j *job) (*program, error) {
	s := j.Spec
	p := &program{}
	p.call(step{sandbox.StageLaunch, "umask", ""}, unix.SYS_UMASK, 0o022)
	var builtin *image
	if s.Builtin != "" {
		var err error
		if builtin, err = p.openImage(); err != nil {
			return nil, err
		}
	}
	sources, err := p.enter(j)
	if err != nil {
		return nil, err
	}
	p.takeIDs(s)
	if !s.NoChroot {
		p.enterRoot(j, sources)
	}
	p.dropPrivileges(j)
	p.connectStreams()
	dir := s.Dir
	if dir == "" {
		dir = s.InsideDir()
	}
	p.call(step{sandbox.StageExec, "chdir", dir}, unix.SYS_CHDIR, dir)
	p.resetSignals()
	keep := 0
	file, path, args, env := s.Builder, s.Builder, s.Args, s.Env
	if builtin != nil {
		if err := p.prepareBuiltin(builtin, s); err != nil {
			return nil, err
		}
		file, args = builtin.command()
		path, env, keep = builtin.path, nil, len(builtin.files)
	}
	p.closeOthers(keep)
	p.call(step{sandbox.StageLaunch, "write", ""}, unix.SYS_WRITE, jobFD, []byte{readyByte}, 1)
	p.call(step{sandbox.StageExec, "execve", path}, unix.SYS_EXECVE, file, p.strings(args), p.strings(env))
	return p, nil
}

// enter gives the namespaces what they need, and the mount namespace what the host has for it. Without chroot that is
// all there is to it; else the sources are returned.
func (p *program) enter(j *job) (*sources, error) {
	if j.Spec.NoChroot {
		return nil, p.enterHost(j)
	}
	p.nameHost(j.Spec)
	if !j.Spec.Network {
		p.raiseLoopback()
	}
	p.privateMounts(unix.CLONE_NEWCGROUP)
	return p.openSources(j.Spec)
}

func (p *program) nameHost(s *sandbox.Spec) {
	host, domain := s.Hostname, s.Domainname
	if host == "" {
		host = "localhost"
	}
	if domain == "" {
		domain = "(none)"
	}
	p.call(step{sandbox.StageNamespaces, "sethostname", ""}, unix.SYS_SETHOSTNAME, host, len(host))
	p.call(step{sandbox.StageNamespaces, "setdomainname", ""}, unix.SYS_SETDOMAINNAME, domain, len(domain))
}

// raiseLoopback brings up lo, which has its addresses from birth.
func (p *program) raiseLoopback() {
	fd := p.open(step{sandbox.StageNetwork, "socket", ""}, unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	request := make([]byte, 40) // struct ifreq: the name in 16 bytes, the flags
	copy(request, "lo")
	request[unix.IFNAMSIZ] = unix.IFF_UP
	p.call(step{sandbox.StageNetwork, "ioctl SIOCSIFFLAGS", ""}, unix.SYS_IOCTL, fd, unix.SIOCSIFFLAGS, request)
	p.close(fd)
}

// connectStreams gives the builder its standard streams.
func (p *program) connectStreams() {
	null := p.open(step{sandbox.StageRoot, "open", "/dev/null"}, unix.SYS_OPENAT, unix.AT_FDCWD, "/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	for to, from := range []any{null, terminalFD, terminalFD} {
		p.call(step{sandbox.StagePrivileges, "dup3", ""}, unix.SYS_DUP3, from, to, 0)
	}
}

// closeOthers closes what is left but for numbered descriptors and a builtin's call. To close them at execve(2) would be too late: it looks for a script's
// interpreter, which may be called /proc/self/fd/N/../…, before it closes anything. The job socket leads nowhere.
func (p *program) closeOthers(numbered int) {
	s := step{sandbox.StagePrivileges, "close_range", ""}
	if numbered == 0 {
		p.call(s, unix.SYS_CLOSE, handoverFD)
	}
	p.call(s, unix.SYS_CLOSE_RANGE, jobFD+1, firstNumbered-1, 0)
	p.call(s, unix.SYS_CLOSE_RANGE, firstNumbered+numbered, int(^uint32(0)), 0)
}
