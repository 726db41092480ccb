package e2e_test

import (
	"os/exec"
	"syscall"
	"testing"
	"time"

	"larder/test/harness"
)

// waits is something absent that somebody waits for, and what makes it come.
type waits struct {
	path string
	drv  string // "" if it is substituted
	come func()
}

// sources gives a fresh absent path of each kind: one that is substituted, one that is built.
func sources(s *harness.Site, c *harness.Cache, name string, tree harness.Tree, script string) map[string]waits {
	o := c.Add(name, tree)
	o.Hold(len(o.NAR) / 2)
	g := s.NewGate(name)
	d := s.Derive(harness.Recipe{Name: name + "-built", Script: g.Script() + script})[0]
	return map[string]waits{
		"substituted": {o.Path, "", o.Release},
		"built":       {d.Out, d.Drv, func() { g.Open(16) }},
	}
}

// Waiters are freed one by one, and who is left gets what all waited for.
func TestWaitersAreFreedOneByOne(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	c := s.NewCache(10)
	s.Configure([]*harness.Cache{c})
	s.Mount()
	for name, w := range sources(s, c, "freed", helloTree, makeHello) {
		t.Run(name, func(t *testing.T) {
			s := s.In(t)
			interrupted, killed, patient := s.Start("cat", w.path+"/text"), s.Start("cat", w.path+"/text"), s.Start("cat", w.path+"/text")
			s.AwaitWaiters(w.path, 3)
			interrupted.Signal(syscall.SIGINT)
			if r := interrupted.Wait(); r.Status != -1 {
				t.Errorf("the interrupted one: %+v", r)
			}
			s.AwaitWaiters(w.path, 2)
			killed.Signal(syscall.SIGKILL)
			killed.Wait()
			s.AwaitWaiters(w.path, 1)
			if !patient.Running() {
				t.Fatal("the third one was disturbed")
			}
			w.come()
			if r := patient.Wait(); r.Out != "inside" {
				t.Errorf("the third one: %+v", r)
			}
		})
	}
}

// When the last one leaves, the work ends; who comes later starts it anew.
func TestLastWaiterEndsTheWork(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	s.Configure(nil)
	s.Mount()
	g := s.NewGate("last")
	d := s.Derive(harness.Recipe{Name: "last", Script: ": builder-of-last\n" + g.Script() + makeHello})[0]
	first := s.Start("cat", d.Out+"/text")
	g.AwaitReached(1)
	first.Signal(syscall.SIGINT)
	first.Wait()
	harness.Eventually(t, "the builder is dead", func() bool { return len(harness.Processes("builder-of-last")) == 0 })
	second := s.Start("cat", d.Out+"/text")
	g.AwaitReached(2)
	g.Open(2)
	if r := second.Wait(); r.Out != "inside" {
		t.Errorf("the second one: %+v", r)
	}
	s.Unmount()
}

// Programs whose own signals come all the time wait undisturbed.
func TestOwnSignalsDoNotDisturb(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	c := s.NewCache(10)
	s.Configure([]*harness.Cache{c})
	s.Mount()
	const program = "#!/bin/sh\necho ok\n"
	const makeProgram = `printf '#!/bin/sh\necho ok\n' > $out; chmod 755 $out` + "\n"
	for _, op := range withoutGuesses("stat", "open", "exec") {
		for name, w := range sources(s, c, "stormy-"+op, harness.Tree{"": program}, makeProgram) {
			t.Run("Go/"+op+"/"+name, func(t *testing.T) {
				s := s.In(t)
				undisturbed(t, s, w, s.Start(harness.Program("stormy"), op, w.path))
			})
		}
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	const timer = "signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01); "
	programs := map[string]string{
		"stat": timer + "os.stat(path); print('ok')",
		"open": timer + "open(path).close(); print('ok')",
		// A timer outlives execve, and would end the new program, which has no handler.
		"exec": "os.execv(path, [path])",
	}
	for _, op := range withoutGuesses("stat", "open", "exec") {
		for name, w := range sources(s, c, "python-"+op, harness.Tree{"": program}, makeProgram) {
			t.Run("Python/"+op+"/"+name, func(t *testing.T) {
				s := s.In(t)
				undisturbed(t, s, w, s.Start(python, "-c", pythonStorm+programs[op], w.path))
			})
		}
	}
}

// pythonStorm installs handlers without SA_RESTART's help: Python's own retry of interrupted calls (PEP 475) does not cover
// stat, which fails should it ever be told EINTR.
const pythonStorm = `
import os, signal, subprocess, sys
path = sys.argv[1]
signal.signal(signal.SIGCHLD, lambda *a: None)
signal.signal(signal.SIGALRM, lambda *a: None)
for i in range(5): subprocess.Popen(["sleep", "%.2f" % (i / 20)])
`

func undisturbed(t *testing.T, s *harness.Site, w waits, p *harness.Process) {
	t.Helper()
	s.AwaitWaiters(w.path, 1)
	// Nothing tells when signals that have no effect have had none.
	time.Sleep(150 * time.Millisecond)
	if !p.Running() {
		t.Fatalf("it was disturbed: %+v", p.Wait())
	}
	w.come()
	if r := p.Wait(); r.Out != "ok" {
		t.Errorf("got %+v", r)
	}
}
