package linux

import (
	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// writeProgram writes what the child does to become the builder. The child is process 1 of its process namespace, in a
// user namespace of its own as a rule, and has setupCapabilities at least.
func writeProgram(j *job) (*program, error) {
	s := j.Spec
	p := newProgram()
	p.call(step{sandbox.StageLaunch, "umask", ""}, unix.SYS_UMASK, 0o022)
	sources, err := p.enter(j)
	if err != nil {
		return nil, err
	}
	var builtin *image
	if s.Builtin != "" {
		if builtin, err = p.openImage(); err != nil {
			return nil, err
		}
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
	file, path, args, env := s.Builder, s.Builder, s.Args, s.Env
	if builtin != nil {
		if err := p.prepareBuiltin(builtin, s); err != nil {
			return nil, err
		}
		file, args = builtin.command()
		path, env = builtin.path, nil
	}
	p.call(step{sandbox.StageLaunch, "write", ""}, unix.SYS_WRITE, jobSocket, []byte{readyByte}, 1)
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

// connectStreams gives the builder its standard streams, and closes everything else at execve(2).
func (p *program) connectStreams() {
	null := p.open(step{sandbox.StageRoot, "open", "/dev/null"}, unix.SYS_OPENAT, unix.AT_FDCWD, "/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	for to, from := range []slot{null, terminal, terminal} {
		p.call(step{sandbox.StagePrivileges, "dup3", ""}, unix.SYS_DUP3, from, to, 0)
	}
	p.call(step{sandbox.StagePrivileges, "close_range", ""}, unix.SYS_CLOSE_RANGE, 3, int(^uint32(0)), unix.CLOSE_RANGE_CLOEXEC)
}
