package e2e_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"larder/test/harness"
)

// Garbage collection leaves what programs use in the mount; what it deletes comes again when it is wanted.
func TestGarbageCollection(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	c := s.NewCache(10)
	s.Configure([]*harness.Cache{c})
	s.Mount()
	library := c.Add("library", harness.Tree{"": "library"})
	objects := map[string]*harness.Object{}
	for _, name := range []string{"rooted", "open", "cwd", "running", "unused"} {
		objects[name] = c.Add(name, harness.Tree{"bin/wait": "#!/bin/sh\necho runs\nread x\n", "text": name}, library)
		if got := s.Read(objects[name].Path + "/text"); got != "ok "+name {
			t.Fatalf("%s: got %q", name, got)
		}
	}
	link := filepath.Join(s.Top, "result")
	s.Must("roots", "add", link, objects["rooted"].Path)
	contains(t, "roots list", s.Must("roots", "list"), link+" -> "+objects["rooted"].Path)

	users := map[string]*harness.Process{
		"open":    s.Start("sh", "-c", `exec 3< "$0/text"; echo has it; exec sleep 1000`, objects["open"].Path),
		"cwd":     s.Start("sh", "-c", `cd "$0/bin"; echo is there; exec sleep 1000`, objects["cwd"].Path),
		"running": s.Start("sh", "-c", `sleep 1000 | "$0/bin/wait"`, objects["running"].Path),
	}
	for name, p := range users {
		harness.Eventually(t, name+" is in use", func() bool { return p.Stdout() != "" })
	}
	gone := func(name string) bool {
		return !slices.Contains(s.List(), filepath.Base(objects[name].Path))
	}

	if r := s.Larder("gc", objects["rooted"].Path); r.Status == 0 || gone("rooted") {
		t.Errorf("gc of what is rooted: %+v", r)
	}
	if r := s.Larder("gc", objects["open"].Path); r.Status == 0 || gone("open") {
		t.Errorf("gc of what is open: %+v", r)
	}
	if got := s.Must("gc", "--dry-run"); !strings.Contains(got, objects["unused"].Path) || gone("unused") {
		t.Errorf("gc --dry-run: %q", got)
	}
	deleted := strings.Fields(s.Must("gc"))
	if !slices.Equal(deleted, []string{objects["unused"].Path}) {
		t.Errorf("gc deleted %q, want %q", deleted, objects["unused"].Path)
	}
	if !gone("unused") {
		t.Error("ls still shows what was deleted")
	}
	for name, p := range users {
		if !p.Running() || gone(name) {
			t.Errorf("%s was deleted under its user", name)
		}
	}
	if got := s.Read(objects["cwd"].Path + "/text"); got != "ok cwd" {
		t.Errorf("what stayed: %q", got)
	}
	if got := s.Read(objects["unused"].Path + "/text"); got != "ok unused" {
		t.Errorf("what was deleted, again: %q", got)
	}
	if n := objects["unused"].Gets(); n != 2 {
		t.Errorf("it was downloaded %d times", n)
	}

	for _, p := range users {
		p.Signal(9)
		p.Wait()
	}
	for _, pid := range harness.Processes(objects["running"].Path) {
		harness.Kill(t, pid)
	}
	s.Must("roots", "remove", link)
	// The kernel forgets a moment after a program has ended.
	harness.Eventually(t, "everything can be deleted", func() bool {
		s.Must("gc")
		return len(s.List()) == 0
	})
	s.Unmount()
	s.CheckObjects()
}
