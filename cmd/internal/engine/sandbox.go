package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"

	"larder/cmd/internal/config"
	"larder/realiser"
	spec "larder/sandbox"
	"larder/sandbox/linux"
)

// sandbox is the runner of builds. It starts with the first one, and adds to each what the configuration says.
type sandbox struct {
	devShmSize string

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
		s.runner, err = linux.New(linux.Options{})
	}
	return s.runner, err
}

// Run implements realiser.Sandbox.
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

// buildUsers are the members of a group, who builders run as if Larder is root. No group: nobody, builders run as Larder.
func buildUsers(group string, uid int) ([]realiser.BuildUser, error) {
	if group == "" || uid != 0 {
		return nil, nil
	}
	gid, names, err := groupMembers(group)
	if err != nil {
		return nil, fmt.Errorf("setting build-users-group: %w", err)
	}
	var users []realiser.BuildUser
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			return nil, fmt.Errorf("setting build-users-group: member of %s: %w", group, err)
		}
		id, err := strconv.Atoi(u.Uid)
		if err != nil {
			return nil, fmt.Errorf("setting build-users-group: member %s of %s: %w", name, group, err)
		}
		users = append(users, realiser.BuildUser{UID: id, GID: gid})
	}
	if len(users) == 0 {
		return nil, fmt.Errorf("setting build-users-group: the group %s has no members", group)
	}
	return users, nil
}

// groupMembers reads /etc/group: Go's os/user does not tell the members of a group.
func groupMembers(group string) (gid int, names []string, err error) {
	f, err := os.Open("/etc/group")
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	for scan := bufio.NewScanner(f); ; {
		if !scan.Scan() {
			return 0, nil, errors.Join(scan.Err(), fmt.Errorf("there is no group %q in /etc/group", group))
		}
		fields := strings.Split(scan.Text(), ":")
		if len(fields) != 4 || fields[0] != group {
			continue
		}
		gid, err := strconv.Atoi(fields[2])
		if err != nil {
			return 0, nil, fmt.Errorf("group %q: %w", group, err)
		}
		return gid, strings.FieldsFunc(fields[3], func(r rune) bool { return r == ',' }), nil
	}
}
