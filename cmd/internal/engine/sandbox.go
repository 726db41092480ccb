package engine

import (
	"context"
	"fmt"
	"io"
	"sync"

	"larder/cmd/internal/config"
	"larder/realiser"
	"larder/realiser/builder"
	spec "larder/sandbox"
	"larder/sandbox/linux"
)

// sandbox is the runner of builds. It starts with the first one, and adds to each what the configuration says.
type sandbox struct {
	config *config.Config
	// mountPoints is where mount points are kept between builds; it helps if that is on the file system of the objects.
	mountPoints string

	mu     sync.Mutex // guards what follows
	closed bool
	runner *linux.Runner
}

func (s *sandbox) started() (*linux.Runner, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, realiser.ErrClosed
	}
	var err error
	if s.runner == nil {
		s.runner, err = linux.New(linux.Options{MountPoints: s.mountPoints, Cgroup: s.config.CgroupDir})
	}
	return s.runner, err
}

// Run implements builder.Sandbox.
func (s *sandbox) Run(ctx context.Context, b *spec.Spec, log io.Writer) (*spec.Result, error) {
	runner, err := s.started()
	if err != nil {
		return nil, err
	}
	s.configure(b)
	return runner.Run(ctx, b, log)
}

// configure adds what is the same for all builds. A derivation has no say in it.
func (s *sandbox) configure(b *spec.Spec) {
	c := s.config
	b.DevShmSize = c.SandboxDevShmSize
	b.NoSyscallFilter, b.AllowNewPrivileges, b.ImpersonateLinux26 = !c.FilterSyscalls, c.AllowNewPrivileges, c.ImpersonateLinux26
	b.Cgroup = spec.Cgroup{
		Use: c.UseCgroups, Memory: int64(c.BuildMemoryLimit), Processes: int64(c.BuildProcessesLimit),
		CPU: int64(c.BuildPercentOfCPU) * 10, // thousandths
	}
}

// Close ends the runner.
func (s *sandbox) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.runner == nil {
		return nil
	}
	return s.runner.Close()
}

// sandboxMode is the setting sandbox, which the table has checked.
func sandboxMode(c *config.Config) builder.SandboxMode {
	switch c.Sandbox {
	case "relaxed":
		return builder.SandboxRelaxed
	case "false", "no", "0":
		return builder.SandboxNever
	}
	return builder.SandboxAlways
}

func sandboxMounts(list []string) ([]spec.Mount, error) {
	var mounts []spec.Mount
	for _, text := range list {
		p, err := config.ParseSandboxPath(text)
		if err != nil {
			return nil, fmt.Errorf("setting sandbox-paths: %w", err)
		}
		mounts = append(mounts, spec.Mount{Source: p.Outside, Target: p.Inside, Optional: p.Optional})
	}
	return mounts, nil
}
