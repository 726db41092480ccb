package userpool_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"larder/realiser/userpool"
)

// accounts is a machine's users and groups. Unlike a real one's it has the names of users in no order but that of the group.
type accounts struct {
	groups map[string][]string // members
	gids   map[string]int
	users  map[string]userpool.Account
}

func (a accounts) Group(name string) (int, []string, error) {
	if gid, ok := a.gids[name]; ok {
		return gid, a.groups[name], nil
	}
	return 0, nil, user.UnknownGroupError(name)
}

func (a accounts) User(name string) (userpool.Account, error) {
	if u, ok := a.users[name]; ok {
		return u, nil
	}
	return userpool.Account{}, user.UnknownUserError(name)
}

func (a accounts) UserName(uid int) (string, error) {
	for name, u := range a.users {
		if u.UID == uid {
			return name, nil
		}
	}
	return "", user.UnknownUserIdError(uid)
}

var builders = accounts{
	gids: map[string]int{"nixbld": 30000, "empty": 30100, "ghosts": 30101, "self": 30102, "root": 0},
	groups: map[string][]string{
		"nixbld": {"nixbld1", "nixbld2"}, "ghosts": {"ghost"}, "self": {"me"}, "root": {"nixbld1"},
	},
	users: map[string]userpool.Account{
		"nixbld1": {UID: 30001, Groups: []int{30000, 104, 105}}, "nixbld2": {UID: 30002, Groups: []int{30000}},
		"me": {UID: os.Geteuid()}, "clash": {UID: 4_000_000},
	},
}

// killings counts what a pool kills.
type killings struct {
	mu   sync.Mutex
	uids map[int]int
	err  error
}

func (k *killings) kill(_ context.Context, uid int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.uids == nil {
		k.uids = map[int]int{}
	}
	k.uids[uid]++
	return k.err
}

func newPool(t *testing.T, o userpool.Options) *userpool.Pool {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Kill == nil {
		o.Kill = new(killings).kill
	}
	if o.Accounts == nil {
		o.Accounts = builders
	}
	p, err := userpool.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// taken returns the identities that are free.
func taken(t *testing.T, p *userpool.Pool) (locks []*userpool.Lock) {
	t.Helper()
	ctx, stop := context.WithCancelCause(t.Context())
	full := errors.New("all are in use")
	for {
		l, err := p.Acquire(ctx, func() { stop(full) })
		if errors.Is(err, full) {
			return locks
		}
		if err != nil {
			t.Fatal(err)
		}
		locks = append(locks, l)
	}
}

func TestMembers(t *testing.T) {
	var k killings
	dir := filepath.Join(t.TempDir(), "nix") // not there yet
	p := newPool(t, userpool.Options{Dir: dir, Group: "nixbld", Kill: k.kill})
	locks := taken(t, p)
	if len(locks) != 2 || !p.Lends() {
		t.Fatalf("%d identities", len(locks))
	}
	if id := fmt.Sprint(locks[0].Identity, locks[1].Identity); id != "{30001 30000 1 [104 105]} {30002 30000 1 []}" {
		t.Errorf("the identities are %s", id)
	}
	if !maps.Equal(k.uids, map[int]int{30001: 1, 30002: 1}) {
		t.Errorf("killed before the builds: %v", k.uids)
	}
	// Another process finds them locked where Nix would.
	for _, name := range []string{"30001", "30002"} {
		f, err := os.OpenFile(filepath.Join(dir, "userpool", name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
			t.Errorf("lock of %s: %v", name, err)
		}
		if st, err := f.Stat(); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", st.Mode(), err)
		}
	}
	locks[1].Release()
	again := taken(t, p)
	if len(again) != 1 || again[0].UID != 30002 || k.uids[30002] != 2 {
		t.Errorf("after one was released: %+v", again)
	}
}

// An identity that another process holds is not touched, and what it runs is not killed.
func TestLockedByAnother(t *testing.T) {
	var k killings
	dir := t.TempDir()
	p := newPool(t, userpool.Options{Dir: dir, Group: "nixbld", Kill: k.kill})
	if err := os.Mkdir(filepath.Join(dir, "userpool"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "userpool", "30001"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	locks := taken(t, p)
	if len(locks) != 1 || locks[0].UID != 30002 || k.uids[30001] != 0 {
		t.Fatalf("%+v, killed %v", locks, k.uids)
	}
	// Who waits says so, and gets what the other process releases, which nobody tells.
	waits := 0
	l, err := p.Acquire(t.Context(), func() { waits++; f.Close() })
	if err != nil || l.UID != 30001 || waits != 1 {
		t.Errorf("%+v %v after %d waits", l, err, waits)
	}
}

func TestManyWait(t *testing.T) {
	p := newPool(t, userpool.Options{Group: "nixbld"})
	var mu sync.Mutex
	held := map[int]bool{}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			l, err := p.Acquire(t.Context(), nil)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			if held[l.UID] {
				t.Errorf("user id %d is lent twice", l.UID)
			}
			held[l.UID] = true
			mu.Unlock()

			mu.Lock()
			held[l.UID] = false
			mu.Unlock()
			l.Release()
		})
	}
	all.Wait()
}

func TestBadGroups(t *testing.T) {
	for group, want := range map[string]string{
		"none":   "the group 'none' specified in 'build-users-group' does not exist",
		"empty":  "the build users group 'empty' has no members",
		"ghosts": "the user 'ghost' in the group 'ghosts' does not exist",
		"self":   "the Nix user should not be a member of 'self'",
		"root":   "the build users group 'root' is root's",
	} {
		_, err := newPool(t, userpool.Options{Group: group}).Acquire(t.Context(), nil)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("group %s: %v", group, err)
		}
	}
}

func TestKillFails(t *testing.T) {
	k := killings{err: errors.New("no")}
	p := newPool(t, userpool.Options{Group: "nixbld", Kill: k.kill})
	if _, err := p.Acquire(t.Context(), nil); !errors.Is(err, k.err) {
		t.Error(err)
	}
	k.err = nil
	if n := len(taken(t, p)); n != 2 {
		t.Errorf("%d identities are left", n)
	}
}

func TestRanges(t *testing.T) {
	idMap := func(text string) []string {
		file := filepath.Join(t.TempDir(), "map")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return []string{file}
	}
	const everything = "         0          0 4294967295\n"
	for _, c := range []struct {
		idMap        string
		start, count int
		want         []int
	}{
		{everything, 0, 2 << 16, []int{872415232, 872415232 + 1<<16}},
		{everything, 1 << 20, 1 << 16, []int{1 << 20}},
		{"0 100000 65536\n", 0, 0, nil}, // a container
		{"0 100000 65536\n872415232 872415232 65536\n", 0, 0, []int{872415232}},
		{"0 100000 65536\n872415233 1 655360\n", 0, 2 << 16, []int{872415232 + 1<<16}},
	} {
		dir := t.TempDir()
		// With a group, too: the setting says what is preferred.
		p := newPool(t, userpool.Options{Dir: dir, Group: "nixbld", Ranges: true, StartID: c.start, IDCount: c.count, IDMaps: idMap(c.idMap)})
		if p.Lends() != (len(c.want) > 0) {
			t.Errorf("%q: lends: %v", c.idMap, p.Lends())
		}
		if !p.Lends() {
			l, err := p.Acquire(t.Context(), nil)
			if err != nil || l.UID != userpool.CallingUser || l.GID != userpool.CallingUser {
				t.Errorf("%+v %v", l, err)
			}
			continue
		}
		var got []int
		for _, l := range taken(t, p) {
			got = append(got, l.UID)
			if l.GID != l.UID || l.Count != 1<<16 || len(l.Groups) > 0 {
				t.Errorf("%+v", l.Identity)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: %v", c.idMap, got)
		}
		if _, err := os.Stat(filepath.Join(dir, "userpool2", "slot-0")); c.start == 0 && got[0] == 872415232 && err != nil {
			t.Error(err)
		}
	}
	_, err := newPool(t, userpool.Options{Ranges: true, StartID: 4_000_000, IDMaps: idMap(everything)}).Acquire(t.Context(), nil)
	if err == nil || err.Error() != "auto-allocated UID 4000000 clashes with existing user account 'clash'" {
		t.Error(err)
	}
	for name, o := range map[string]userpool.Options{
		"beyond the last id": {StartID: 1<<32 - 1<<16 - 1, IDCount: 1 << 16},
		"negative":           {StartID: -5},
		"half a range":       {IDCount: 1000},
		"nonsense":           {IDMaps: idMap("nonsense")},
		"no map":             {IDMaps: []string{"/does/not/exist"}},
	} {
		o.Ranges, o.Dir, o.Kill = true, t.TempDir(), new(killings).kill
		if _, err := userpool.New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCallingUser(t *testing.T) {
	p, err := userpool.New(userpool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 3 { // as many at once as one likes
		l, err := p.Acquire(t.Context(), func() { t.Error("it waits") })
		if err != nil || p.Lends() || l.UID != userpool.CallingUser || l.Kill(t.Context()) != nil || l.Own(file) != nil {
			t.Errorf("%+v %v", l, err)
		}
		defer l.Release()
	}
	if _, err := userpool.New(userpool.Options{Group: "nixbld"}); err == nil {
		t.Error("a pool without a directory for locks")
	}
}

// A hostile or broken directory of locks is an error that names the file.
func TestLockFileTricks(t *testing.T) {
	dir := t.TempDir()
	p := newPool(t, userpool.Options{Dir: dir, Group: "nixbld"})
	if err := os.Mkdir(filepath.Join(dir, "userpool"), 0o755); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "file")
	if err := os.Symlink(elsewhere, filepath.Join(dir, "userpool", "30001")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Acquire(t.Context(), nil); !errors.Is(err, unix.ELOOP) || !strings.Contains(err.Error(), "opening user lock '"+dir) {
		t.Error(err)
	}
	if _, err := os.Lstat(elsewhere); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
