package engine

import (
	"context"
	"fmt"
	"io"
	"sync"

	"larder/cmd/internal/config"
	"larder/realiser"
	spec "larder/sandbox"
	"larder/sandbox/linux"
)

// sandbox is the runner of builds. It starts with the first one, and adds to each what the configuration says.
type sandbox struct {
	devShmSize string
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
		s.runner, err = linux.New(linux.Options{MountPoints: s.mountPoints})
	}
	return s.runner, err
}

// Run implements builder.Sandbox.
func (s *sandbox) Run(ctx context.Context, b *spec.Spec, log io.Writer) (*spec.Result, error) {
	runner, err := s.started()
	if err != nil {
		return nil, err
	}
	b.DevShmSize = s.devShmSize
	return runner.Run(ctx, b, log)
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
