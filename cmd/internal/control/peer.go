package control

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"larder/store"
)

// access is what a caller may do, or what a call needs.
type access uint8

const (
	nobody access = iota
	anyUser
	owner
)

type peerKey struct{}

// peer is who made a connection; err says why that is not known.
type peer struct {
	caller store.Caller
	err    error
}

// withPeer notes who is at the other end of a connection.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	p := peer{err: fmt.Errorf("not accepted by a server but %T", c)}
	if v, ok := c.(*visitor); ok {
		p = v.peer
	}
	return context.WithValue(ctx, peerKey{}, p)
}

// Allowed are the users that the setting allowed-users names: login names, @groups, or *.
type Allowed []string

// access says what the caller may do. Names are looked up each time: users come and go.
func (a Allowed) access(c store.Caller) access {
	switch {
	case c.UID == 0, int(c.UID) == os.Geteuid():
		return owner
	case len(a) == 0:
		return nobody
	case slices.Contains(a, "*"):
		return anyUser
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(c.UID), 10))
	if err != nil {
		return nobody
	}
	if slices.Contains(a, u.Username) {
		return anyUser
	}
	for _, name := range a {
		group, ok := strings.CutPrefix(name, "@")
		if ok && memberOf(u, c.GID, group) {
			return anyUser
		}
	}
	return nobody
}

// memberOf reports whether the user is in a group, also by its group id of the moment.
func memberOf(u *user.User, gid uint32, name string) bool {
	g, err := user.LookupGroup(name)
	if err != nil {
		return false
	}
	ids, err := u.GroupIds()
	return err == nil && slices.Contains(ids, g.Gid) || g.Gid == strconv.FormatUint(uint64(gid), 10)
}
