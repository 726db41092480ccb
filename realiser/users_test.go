package realiser_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"syscall"
	"testing"

	"larder/realiser"
	"larder/realiser/builder"
	"larder/realiser/result"
	"larder/realiser/userpool"
	"larder/sandbox"
	"larder/sandbox/linux"
	"larder/store"
	"larder/store/derivation"
	"larder/store/local"
	"larder/test/ids"
)

// oneUser is a machine with a group of one build user, who is in another group, too.
type oneUser struct {
	uid, gid, extra int
	locks           string
}

func (u oneUser) Group(string) (int, []string, error) { return u.gid, []string{"one"}, nil }
func (oneUser) UserName(int) (string, error)          { return "", user.UnknownUserIdError(0) }
func (u oneUser) User(string) (userpool.Account, error) {
	return userpool.Account{UID: u.uid, Groups: []int{u.gid, u.extra}}, nil
}

// newUser is a user of this test only.
func newUser(t *testing.T) oneUser {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can run builders as other users")
	}
	own := ids.New(t)
	return oneUser{own.Start, own.Start + 1, own.Start + 2, own.Dir}
}

// pool is one of that group.
func (u oneUser) pool(t *testing.T) *userpool.Pool {
	t.Helper()
	p, err := userpool.New(userpool.Options{Dir: u.locks, Group: "nixbld", Kill: linux.KillUser, Accounts: u})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSupplementaryGroups(t *testing.T) {
	t.Parallel()
	one := newUser(t)
	pool := one.pool(t)
	l := newLookout(t)
	file := l.file("for-the-group", "text", 0o040)
	if err := os.Chown(file, 0, one.extra); err != nil {
		t.Fatal(err)
	}
	users := func(o *realiser.Options) { o.Users = pool }
	if got := l.read(l.realiser(users, mode(builder.SandboxNever)), "echo $(id -u) $(id -G) $(cat "+file+") > $out", nil); got != fmt.Sprintf("%d %d %d text\n", one.uid, one.gid, one.extra) {
		t.Errorf("without a sandbox it is %q", got)
	}
	r := l.realiser(users, func(o *realiser.Options) {
		o.SandboxPaths = append(o.SandboxPaths, sandbox.Mount{Source: file, Target: file})
	})
	if got := l.read(r, "cat "+file+" > $out", nil); got != "text" {
		t.Errorf("in the sandbox it reads %q", got)
	}
}

// What runs under a build user's id when a build begins is killed.
func TestLeftProcessesAreKilled(t *testing.T) {
	t.Parallel()
	one := newUser(t)
	pool := one.pool(t)
	l := newLookout(t)
	held, err := pool.Acquire(t.Context(), nil) // so that nobody else kills it
	if err != nil {
		t.Fatal(err)
	}
	left := exec.Command(busybox, "sleep", "1000")
	left.Dir, left.SysProcAttr = "/", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(one.uid), Gid: uint32(one.gid)}}
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { left.Process.Kill(); left.Wait() })
	held.Release()
	l.read(l.realiser(func(o *realiser.Options) { o.Users = pool }), "echo > $out", nil)
	var exit *exec.ExitError
	if err := left.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v", err)
	}
}

// A build that waits for a user says so, and goes on with the first that is free.
func TestWaitForAUser(t *testing.T) {
	t.Parallel()
	pool := newUser(t).pool(t)
	l := newLookout(t)
	held, err := pool.Acquire(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := l.realiser(func(o *realiser.Options) { o.Users = pool })
	events := r.Subscribe(1000)
	drv, _ := l.script("echo > $out", nil)
	ended := make(chan realiser.BuildResult)
	go func() { ended <- realise(t, r, drv) }()
	for ev := range events.Events() {
		if ev.Type == realiser.GoalPhase && ev.Phase == realiser.PhaseLocked && strings.Contains(ev.Detail, "build user") {
			break
		}
		if ev.Phase == realiser.PhaseBuilding {
			t.Error("it builds as a user that is in use")
			break
		}
	}
	held.Release()
	if res := <-ended; res.Err != nil {
		t.Error(res.Err)
	}
	events.Close()

	// Nobody comes: it can be given up.
	if held, err = pool.Acquire(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	ctx, cancel := context.WithCancel(t.Context())
	events = r.Subscribe(1000)
	defer events.Close()
	_, out := l.script("echo > $out", nil)
	go func() {
		for ev := range events.Events() {
			if ev.Phase == realiser.PhaseLocked && strings.Contains(ev.Detail, "build user") {
				cancel()
			}
		}
	}()
	if err := r.Realise(ctx, store.Caller{}, out); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// registering calls a function before anything is registered.
type registering struct {
	*local.Store
	before func()
}

func (s registering) Register(ctx context.Context, adds ...store.Addition) error {
	s.before()
	return s.Store.Register(ctx, adds...)
}

// A user is nobody else's until the outputs, which were that user's, are registered.
func TestUserIsHeldUntilRegistration(t *testing.T) {
	t.Parallel()
	one := newUser(t)
	pool, other := one.pool(t), one.pool(t)
	l := newLookout(t)
	free := func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		lock, err := other.Acquire(ctx, cancel)
		if err != nil {
			return false
		}
		lock.Release()
		return true
	}
	registered := 0
	r := l.realiser(func(o *realiser.Options) {
		o.Users = pool
		o.Store = registering{l.s, func() {
			registered++
			if free() {
				t.Error("the user is free before the outputs are registered")
			}
		}}
	})
	l.read(r, "echo > $out", nil)
	if registered == 0 {
		t.Error("nothing was registered")
	}
}

// A derivation that demands uid-range is root among many users.
func TestUIDRange(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can run builders as other users")
	}
	l := newLookout(t)
	demand := func(d *derivation.Derivation) { d.Env["requiredSystemFeatures"] = "uid-range" }
	offer := func(o *realiser.Options) { o.SystemFeatures = append(o.SystemFeatures, "uid-range") }
	users := func(o *realiser.Options) { o.Users = buildUsers(t) }
	if got := l.read(l.realiser(users, offer), "read inside outside count < /proc/self/uid_map; echo $(id -u) $inside $count > $out", demand); got != "0 0 65536\n" {
		t.Errorf("it is %q", got)
	}
	for says, r := range map[string]*realiser.Realiser{
		"with features {uid-range} is required":        l.realiser(users),
		"is only supported in sandboxed builds":        l.realiser(users, offer, mode(builder.SandboxNever)),
		"requires the setting 'auto-allocate-uids' to": l.realiser(offer),
	} {
		drv, _ := l.script("echo > $out", demand)
		if res := realise(t, r, drv); res.Status != result.InputRejected || !strings.Contains(res.Err.Error(), says) {
			t.Errorf("want %s: %v %v", says, res.Status, res.Err)
		}
	}
}
