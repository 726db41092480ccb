package userpool

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
)

// members are the identities of a group's members.
type members struct {
	group, dir string
	accounts   Accounts
}

func (m *members) try() (*Lock, error) {
	gid, names, err := m.accounts.Group(m.group)
	switch {
	case errors.As(err, new(user.UnknownGroupError)):
		return nil, fmt.Errorf("the group '%s' specified in 'build-users-group' does not exist", m.group)
	case err != nil:
		return nil, fmt.Errorf("the group '%s' specified in 'build-users-group': %w", m.group, err)
	case len(names) == 0:
		return nil, fmt.Errorf("the build users group '%s' has no members", m.group)
	case gid <= 0:
		return nil, fmt.Errorf("the build users group '%s' is root's", m.group)
	}
	for _, name := range names {
		account, err := m.accounts.User(name)
		switch {
		case errors.As(err, new(user.UnknownUserError)):
			return nil, fmt.Errorf("the user '%s' in the group '%s' does not exist", name, m.group)
		case err != nil:
			return nil, fmt.Errorf("the user '%s' in the group '%s': %w", name, m.group, err)
		case account.UID <= 0 || account.UID == os.Getuid() || account.UID == os.Geteuid():
			return nil, fmt.Errorf("the Nix user should not be a member of '%s', and neither should root: '%s' is", m.group, name)
		}
		f, err := lockFile(m.dir, strconv.Itoa(account.UID))
		if err != nil {
			return nil, err
		}
		if f != nil {
			groups := slices.DeleteFunc(slices.Clone(account.Groups), func(g int) bool { return g == gid })
			return &Lock{Identity: Identity{UID: account.UID, GID: gid, Count: 1, Groups: groups}, file: f}, nil
		}
	}
	return nil, nil
}
