package harness

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Gate is where builders stop until the test opens it, any number of times. It is two named pipes that sandboxes see
// in /gate: a builder tells that it has come through one, and waits for the other.
type Gate struct {
	t             testing.TB
	reached, open *os.File
	name          string
	seen          int
}

// NewGate makes a gate of a name that is new at the site.
func (s *Site) NewGate(name string) *Gate {
	s.t.Helper()
	g := &Gate{t: s.t, name: name}
	for suffix, f := range map[string]**os.File{".reached": &g.reached, ".open": &g.open} {
		file := filepath.Join(s.gates, name+suffix)
		if err := errors.Join(unix.Mkfifo(file, 0o666), os.Chmod(file, 0o666)); err != nil {
			s.t.Fatal(err)
		}
		var err error
		if *f, err = os.OpenFile(file, os.O_RDWR|unix.O_NONBLOCK, 0); err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { (*f).Close() })
	}
	return g
}

// Script is the line of a builder's shell script that stops at the gate.
func (g *Gate) Script() string {
	return "echo > /gate/" + g.name + ".reached; read x < /gate/" + g.name + ".open\n"
}

// Reached is how many times builders have come to the gate.
func (g *Gate) Reached() int {
	g.reached.SetReadDeadline(time.Now().Add(time.Millisecond))
	b, err := io.ReadAll(g.reached)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		g.t.Fatal(err)
	}
	g.seen += bytes.Count(b, []byte("\n"))
	return g.seen
}

// AwaitReached waits until builders have come to the gate n times in all.
func (g *Gate) AwaitReached(n int) {
	g.t.Helper()
	Eventually(g.t, "a builder has come to gate "+g.name, func() bool { return g.Reached() >= n })
}

// Open lets builders through: the next n that come, or have come.
func (g *Gate) Open(n int) {
	g.t.Helper()
	if _, err := g.open.WriteString(strings.Repeat("\n", n)); err != nil {
		g.t.Fatal(err)
	}
}
