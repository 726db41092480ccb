package fault_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"larder/test/harness"
)

const rounds = 6

// randomness gives a random source and tells its seed; LARDER_TEST_SEED repeats a run.
func randomness(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("LARDER_TEST_SEED"); text != "" {
		if _, err := fmt.Sscan(text, &seed); err != nil {
			t.Fatalf("LARDER_TEST_SEED: %v", err)
		}
	}
	t.Logf("LARDER_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// bigTree is an object of a few files, some of which are larger than what goes through at once.
func bigTree(random *rand.Rand) harness.Tree {
	tree := harness.Tree{"bin/hello": "#!/bin/sh\necho hello\n", "text": "inside"}
	for i := range 20 {
		tree[fmt.Sprintf("share/%d/file", i)] = strings.Repeat(fmt.Sprint(random.Int64()), random.IntN(20_000))
	}
	return tree
}

// gotError checks that a program whose daemon died was told so.
func gotError(t *testing.T, p *harness.Process) {
	t.Helper()
	if got := p.Wait(); !slices.Contains([]string{"EINTR", "EIO", "ENOTCONN", "ECONNABORTED"}, got.Out) {
		t.Errorf("who waited got %q", got.Out)
	}
}

// afterwards mounts again and checks that nothing half-made is to be seen: each path of maybe is either unknown to the
// store or all there, and besides those there is what was there before.
func afterwards(t *testing.T, s *harness.Site, before []string, maybe ...string) {
	t.Helper()
	s.Mount()
	valid := slices.Clone(before)
	for _, p := range maybe {
		if r := s.Larder("path-info", p); r.Status == 0 {
			valid = append(valid, filepath.Base(p))
		}
	}
	slices.Sort(valid)
	if got := s.List(); !slices.Equal(got, valid) {
		t.Errorf("ls shows %q, want %q", got, valid)
	}
	// What lies underneath the mount is what its daemon sees.
	entries, err := os.ReadDir(filepath.Join("/proc", fmt.Sprint(s.Daemon), "root", s.Objects))
	if err != nil {
		t.Fatal(err)
	}
	var plain []string
	for _, e := range entries {
		plain = append(plain, e.Name())
	}
	if !slices.Equal(plain, valid) {
		t.Errorf("on the disk there is %q, want %q", plain, valid)
	}
}

// asRootAndUser runs a test for a store of root and for one of a plain user.
func asRootAndUser(t *testing.T, test func(t *testing.T, s *harness.Site)) {
	t.Parallel()
	for name, site := range map[string]func(testing.TB) *harness.Site{"root": harness.NewSite, "plain user": harness.NewUserSite} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, site(t))
		})
	}
}

// The daemon is killed while it downloads, at any byte of the NAR, also right after the last one.
func TestKilledWhileSubstituting(t *testing.T) { asRootAndUser(t, killedWhileSubstituting) }

func killedWhileSubstituting(t *testing.T, s *harness.Site) {
	random := randomness(t)
	c := s.NewCache(10)
	s.Configure([]*harness.Cache{c})
	s.Mount()
	var before []string
	for round := range rounds {
		o := c.Add(fmt.Sprint("object-", round), bigTree(random))
		at := random.IntN(len(o.NAR))
		if round == 0 {
			at = len(o.NAR) - 1
		}
		o.Hold(at)
		p := s.Touch("read", o.Path+"/text")
		o.AwaitHeld(t)
		s.AwaitWaiters(o.Path, 1)
		if late := random.IntN(2) == 0; late || round == 0 {
			// Let it finish, and die somewhere on the way from the last byte to the answer.
			o.Release()
			time.Sleep(time.Duration(random.IntN(30_000)) * time.Microsecond)
			s.KillDaemon()
			p.Wait()
		} else {
			s.KillDaemon()
			gotError(t, p)
			o.Release()
		}
		if r := s.Mounter.Wait(); r.Status == 0 {
			t.Errorf("larder mount does not say that its daemon died: %+v", r)
		}
		s.CheckGone()
		afterwards(t, s, before, o.Path)
		if got := s.Read(o.Path + "/text"); got != "ok inside" {
			t.Errorf("the same access again: %q", got)
		}
		if r := s.Start("sh", "-c", `cd "$0" && find . -type f | wc -l`, o.Path).Wait(); r.Out != "22" {
			t.Errorf("it has %q files", r.Out)
		}
		before = append(before, filepath.Base(o.Path))
	}
	s.Unmount()
	s.CheckObjects(before...)
}

// The daemon is killed while a builder runs, at any step of it, also right after the last one.
func TestKilledWhileBuilding(t *testing.T) { asRootAndUser(t, killedWhileBuilding) }

func killedWhileBuilding(t *testing.T, s *harness.Site) {
	random := randomness(t)
	s.Configure(nil)
	s.Mount()
	const steps = 4
	var before []string
	for round := range rounds {
		g := s.NewGate(fmt.Sprint("gate-", round))
		marker := fmt.Sprintf(": builder-%d-of-%s\n", round, filepath.Base(s.Top))
		script := marker + g.Script() + "mkdir $out\n"
		for i := range steps - 1 {
			script += fmt.Sprintf("echo inside > $out/%d\n", i) + g.Script()
		}
		d := s.Derive(harness.Recipe{Name: fmt.Sprint("derived-", round), Script: script})[0]
		before = append(before, filepath.Base(d.Drv))
		at := 1 + random.IntN(steps)
		p := s.Touch("read", d.Out+"/0")
		g.Open(at - 1)
		g.AwaitReached(at)
		s.AwaitWaiters(d.Out, 1)
		if at == steps {
			// Let it finish, and die somewhere on the way from there to the answer.
			g.Open(1)
			time.Sleep(time.Duration(random.IntN(50_000)) * time.Microsecond)
			s.KillDaemon()
			p.Wait()
		} else {
			s.KillDaemon()
			gotError(t, p)
		}
		s.Mounter.Wait()
		s.CheckGone()
		harness.Eventually(t, "all of the builder is dead", func() bool { return len(harness.Processes(strings.TrimSpace(marker))) == 0 })
		slices.Sort(before)
		afterwards(t, s, before, d.Out)
		g.Open(steps)
		if got := s.Read(d.Out + "/0"); got != "ok inside" {
			t.Errorf("the same access again: %q", got)
		}
		if got := s.Touch("readdir", d.Out).Wait(); got.Out != "ok 0 1 2" {
			t.Errorf("it has %q", got.Out)
		}
		before = append(before, filepath.Base(d.Out))
	}
	if left, err := os.ReadDir(filepath.Join(s.State, "builds")); err != nil || len(left) > 0 {
		t.Errorf("build directories are left: %v, %v", left, err)
	}
	s.Unmount()
	s.CheckObjects(before...)
}

// The process outside is killed: the daemon ends, builders die, and the dead mount that is left is no obstacle.
func TestKilledOutside(t *testing.T) { asRootAndUser(t, killedOutside) }

func killedOutside(t *testing.T, s *harness.Site) {
	c := s.NewCache(10)
	s.Configure([]*harness.Cache{c})
	s.Mount()
	o := c.Add("object", harness.Tree{"text": "inside"})
	g := s.NewGate("gate")
	marker := ": builder-of-" + filepath.Base(s.Top)
	d := s.Derive(harness.Recipe{Name: "derived", Script: marker + "\n" + g.Script() + "echo inside > $out"})[0]
	o.Hold(len(o.NAR) / 2)
	waiting := []*harness.Process{s.Touch("read", o.Path+"/text"), s.Touch("read", d.Out)}
	o.AwaitHeld(t)
	g.AwaitReached(1)
	s.Mounter.Signal(9)
	for _, p := range waiting {
		gotError(t, p)
	}
	s.Mounter.Wait()
	harness.Eventually(t, "the daemon and the builder are dead", func() bool {
		return !harness.Alive(s.Daemon) && len(harness.Processes(marker)) == 0
	})
	if got := s.Touch("stat", o.Path).Wait(); got.Out != "ENOTCONN" {
		t.Errorf("a dead mount: %q", got.Out)
	}
	o.Release()
	afterwards(t, s, []string{filepath.Base(d.Drv)}, o.Path, d.Out)
	g.Open(2)
	for _, path := range []string{o.Path + "/text", d.Out} {
		if got := s.Read(path); got != "ok inside" {
			t.Errorf("the same access again: %q", got)
		}
	}
	s.Unmount()
	s.CheckObjects(o.Path, d.Drv, d.Out)
}

// A dead mount is also removed by unmount.
func TestUnmountOfDeadMount(t *testing.T) { asRootAndUser(t, unmountOfDeadMount) }

func unmountOfDeadMount(t *testing.T, s *harness.Site) {
	s.Configure(nil)
	s.Mount()
	s.Mounter.Signal(9)
	s.Mounter.Wait()
	harness.Eventually(t, "the daemon is dead", func() bool { return !harness.Alive(s.Daemon) })
	if !s.Mounted() {
		t.Fatal("it is not mounted any more")
	}
	s.Must("unmount", s.Dir)
	s.CheckGone()
}
