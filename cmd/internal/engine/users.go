package engine

import (
	"errors"

	"larder/cmd/internal/config"
	"larder/realiser/userpool"
	"larder/sandbox/linux"
)

// buildUsers says who builders run as. A plain user has only himself. Root takes members of a group, or ids of nobody: a
// builder with root's user id would own what root owns without a capability: control groups, files of /proc, the trust of
// services that look at who talks to them. In a user namespace in which such ids do not exist there are none.
func buildUsers(c *config.Config, uid int) (*userpool.Pool, error) {
	if uid != 0 {
		return userpool.New(userpool.Options{})
	}
	p, err := userpool.New(userpool.Options{
		Dir: c.UserPoolDir, Group: c.BuildUsersGroup, Ranges: c.AutoAllocateUIDs || c.BuildUsersGroup == "",
		StartID: int(c.StartID), IDCount: int(c.IDCount), Kill: linux.KillUser,
	})
	if err == nil && c.AutoAllocateUIDs && !p.Lends() {
		return nil, errors.New("setting auto-allocate-uids: the ids from start-id on do not exist in this user namespace")
	}
	return p, err
}
