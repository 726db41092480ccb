package userpool

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// Accounts are the users and groups of a machine. Errors that match those of package os/user say that one is unknown.
type Accounts interface {
	// Group returns the id of a group and the names of its members.
	Group(name string) (gid int, members []string, err error)
	User(name string) (Account, error)
	// UserName returns the name of the user who has this id.
	UserName(uid int) (string, error)
}

// Account is a user.
type Account struct {
	UID    int
	Groups []int // all, the primary one too
}

// machine is the accounts of this machine. Who is in a group is what /etc/group says: nothing of os/user tells it.
type machine struct{}

func (machine) Group(name string) (gid int, members []string, err error) {
	f, err := os.Open("/etc/group")
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	for scan := bufio.NewScanner(f); ; {
		if !scan.Scan() {
			if scan.Err() != nil {
				return 0, nil, scan.Err()
			}
			return 0, nil, user.UnknownGroupError(name)
		}
		fields := strings.Split(scan.Text(), ":")
		if len(fields) != 4 || fields[0] != name {
			continue
		}
		gid, err := strconv.Atoi(fields[2])
		if err != nil {
			return 0, nil, fmt.Errorf("/etc/group: %w", err)
		}
		return gid, strings.FieldsFunc(fields[3], func(r rune) bool { return r == ',' }), nil
	}
}

func (machine) User(name string) (a Account, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		return a, err
	}
	if a.UID, err = strconv.Atoi(u.Uid); err != nil {
		return a, err
	}
	groups, err := u.GroupIds()
	if err != nil {
		return a, fmt.Errorf("failed to get list of supplementary groups for '%s': %w", name, err)
	}
	for _, g := range groups {
		gid, err := strconv.Atoi(g)
		if err != nil {
			return a, fmt.Errorf("group id %q: %w", g, err)
		}
		a.Groups = append(a.Groups, gid)
	}
	return a, nil
}

func (machine) UserName(uid int) (string, error) {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return "", err
	}
	if u.Username == "" {
		return "", errors.New("an account without a name")
	}
	return u.Username, nil
}
