package userpool

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
)

// Nix's numbers: the range of all builds, and how many ids each of them has.
const (
	DefaultStartID = 0x34000000 // 872415232
	DefaultIDCount = 128 * rangeSize

	rangeSize = 1 << 16
)

// ranges are identities of ids that no account has.
type ranges struct {
	dir      string
	start    int
	slots    []int // their numbers
	accounts Accounts
}

func newRanges(o Options) (*ranges, error) {
	r := &ranges{dir: filepath.Join(o.Dir, "userpool2"), start: o.StartID, accounts: o.Accounts}
	count := o.IDCount
	if r.start == 0 {
		r.start = DefaultStartID
	}
	if count == 0 {
		count = DefaultIDCount
	}
	switch {
	case r.start < 0 || count < 0 || int64(r.start)+int64(count) >= 1<<32-1:
		return nil, fmt.Errorf("build users: %d ids from %d on (settings id-count, start-id) do not exist", count, r.start)
	case count%rangeSize != 0:
		return nil, fmt.Errorf("build users: the setting id-count is %d, which is no multiple of %d", count, rangeSize)
	}
	files := o.IDMaps
	if files == nil {
		files = []string{"/proc/self/uid_map", "/proc/self/gid_map"}
	}
	var maps [][]idMapping
	for _, file := range files {
		m, err := readIDMap(file)
		if err != nil {
			return nil, fmt.Errorf("build users: %w", err)
		}
		maps = append(maps, m)
	}
	for slot := range count / rangeSize {
		if r.mapped(slot, maps) {
			r.slots = append(r.slots, slot)
		}
	}
	return r, nil
}

func (r *ranges) first(slot int) int { return r.start + slot*rangeSize }

func (r *ranges) mapped(slot int, maps [][]idMapping) bool {
	for _, m := range maps {
		in := false
		for _, mapping := range m {
			in = in || mapping.inside <= r.first(slot) && r.first(slot)+rangeSize <= mapping.inside+mapping.size
		}
		if !in {
			return false
		}
	}
	return true
}

func (r *ranges) try() (*Lock, error) {
	for _, slot := range r.slots {
		f, err := lockFile(r.dir, fmt.Sprintf("slot-%d", slot))
		if err != nil {
			return nil, err
		}
		if f == nil {
			continue
		}
		id := r.first(slot)
		name, err := r.accounts.UserName(id)
		switch {
		case errors.As(err, new(user.UnknownUserIdError)):
			return &Lock{Identity: Identity{UID: id, GID: id, Count: rangeSize}, file: f}, nil
		case err == nil:
			err = fmt.Errorf("auto-allocated UID %d clashes with existing user account '%s'", id, name)
		default:
			err = fmt.Errorf("auto-allocated UID %d: %w", id, err)
		}
		f.Close()
		return nil, err
	}
	return nil, nil
}

// idMapping is a line of /proc/self/uid_map: ids that exist in this user namespace.
type idMapping struct{ inside, outside, size int }

func readIDMap(file string) ([]idMapping, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []idMapping
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		var m idMapping
		if _, err := fmt.Sscan(scan.Text(), &m.inside, &m.outside, &m.size); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, m)
	}
	return all, scan.Err()
}
