package fusefs

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// The kind of an absent object is a guess. Whatever it was, and whatever comes, the
// access ends as if the object had been there all the time.
func TestWrongKindIsRetried(t *testing.T) {
	m := newMounted(t)
	contents := map[kind]tree{
		kindDirectory: {"text": "inside"},
		kindRegular:   {"": script("file")},
		kindSymlink:   {"": "->" + m.dir + "/" + storePath("target").String()},
	}
	m.store.add(t, "target", tree{"": script("target")})
	for guess := kindDirectory; guess <= kindSymlink; guess++ {
		for real, tr := range contents {
			for _, op := range []string{"stat", "lstat", "read", "exec", "readdir", "access", "chdir", "readlink"} {
				if believed(guess, op) {
					continue
				}
				t.Run(guess.String()+" "+real.String()+" "+op, func(t *testing.T) {
					open := make(chan struct{})
					close(open)
					p := m.store.plan(strings.ReplaceAll(fmt.Sprint(guess, "-", real, "-", op), " ", "-"), open, tr)
					n, err := m.store.Number(p)
					if err != nil {
						t.Fatal(err)
					}
					m.fs.kinds.set(n, guess)
					got := m.touch(t, op, m.path(p)).wait()
					// Now it is here and its kind is known.
					if want := m.touch(t, op, m.path(p)).wait(); got != want || m.store.IsPresent(p) == false {
						t.Errorf("got %q, want %q", got, want)
					}
				})
			}
		}
	}
}

// believed reports whether the kernel refuses an operation because of the kind
// alone, without asking for attributes. With a kind that was only guessed, a
// symlink placeholder catches exec and readlink.
func believed(guess kind, op string) bool {
	switch op {
	case "readlink":
		return guess != kindSymlink
	case "exec":
		return guess == kindDirectory
	case "readdir", "chdir":
		return guess == kindRegular
	}
	return false
}

// A symlink into an absent object waits for that object.
func TestSymlinkIntoAbsentObject(t *testing.T) {
	m := newMounted(t)
	open := make(chan struct{})
	absent := m.store.plan("absent", open, tree{"bin/tool": script("tool")})
	env := m.store.add(t, "env", tree{"bin": "->" + m.path(absent, "bin"), "tool": "->../" + absent.String() + "/bin/tool"})
	procs := []*process{
		start(t, exec.Command("/bin/sh", "-c", m.path(env, "bin/tool"))),
		start(t, exec.Command("/bin/sh", "-c", m.path(env, "tool"))),
	}
	eventually(t, "both wait", func() bool { return m.store.waiters(absent) == 2 })
	close(open)
	for _, p := range procs {
		if got := p.wait(); got != "tool" {
			t.Errorf("got %q", got)
		}
	}
}
