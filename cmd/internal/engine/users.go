package engine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"larder/realiser/builder"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// firstOwnID is where the ids begin that builders get if no group names any: those that Nix takes for itself
// (auto-allocate-uids, start-id), so they are no other program's.
const firstOwnID = 872415232

// ownUsers are n users that need not exist, for a root without a group of build users. A builder with root's user id would
// own what root owns without a capability: control groups, files of /proc, the trust of services that look at who talks to
// them. In a user namespace in which the ids do not exist (uidMap is /proc/self/uid_map) there are none.
func ownUsers(n int, uidMap io.Reader) ([]builder.BuildUser, error) {
	mapped := false
	scan := bufio.NewScanner(uidMap)
	for scan.Scan() {
		var inside, outside, size int64
		if _, err := fmt.Sscan(scan.Text(), &inside, &outside, &size); err != nil {
			return nil, fmt.Errorf("/proc/self/uid_map: %w", err)
		}
		mapped = mapped || inside <= firstOwnID && firstOwnID+int64(n) <= inside+size
	}
	if err := scan.Err(); err != nil || !mapped {
		return nil, err
	}
	users := make([]builder.BuildUser, n)
	for i := range users {
		users[i] = builder.BuildUser{UID: firstOwnID + i, GID: firstOwnID + i}
	}
	return users, nil
}

// buildUsers says who builders run as if Larder is root: the members of a group, or ids of their own for so many builds. A
// plain user has only himself.
func buildUsers(group string, builds, uid int) ([]builder.BuildUser, error) {
	if uid != 0 {
		return nil, nil
	}
	if group == "" {
		uidMap, err := os.Open("/proc/self/uid_map")
		if err != nil {
			return nil, err
		}
		defer uidMap.Close()
		return ownUsers(builds, uidMap)
	}
	return groupUsers(group)
}

// groupUsers are the members of a group.
func groupUsers(group string) ([]builder.BuildUser, error) {
	gid, names, err := groupMembers(group)
	if err != nil {
		return nil, fmt.Errorf("setting build-users-group: %w", err)
	}
	var users []builder.BuildUser
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			return nil, fmt.Errorf("setting build-users-group: member of %s: %w", group, err)
		}
		id, err := strconv.Atoi(u.Uid)
		if err != nil {
			return nil, fmt.Errorf("setting build-users-group: member %s of %s: %w", name, group, err)
		}
		users = append(users, builder.BuildUser{UID: id, GID: gid})
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
