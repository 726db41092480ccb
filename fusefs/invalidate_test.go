package fusefs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"larder/store"
)

// What the kernel has forgotten can be deleted, and is realised again, with
// other contents, by who looks next. What somebody uses is busy and stays.
func TestInvalidate(t *testing.T) {
	m := newMounted(t)
	var paths []store.StorePath
	for _, name := range []string{"file-open", "directory-open", "current-directory", "only-looked-at", "never-looked-at"} {
		paths = append(paths, m.store.add(t, name, tree{"dir/text": "old", "absent-too/": ""}))
	}
	use := func(p store.StorePath, below string, flags int) {
		t.Helper()
		fd, err := unix.Open(m.path(p, below), flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
	}
	use(paths[0], "dir/text", unix.O_RDONLY)
	use(paths[1], "dir", unix.O_RDONLY|unix.O_DIRECTORY)
	use(paths[2], "", unix.O_PATH)
	for _, p := range paths[:4] {
		m.touch(t, "read", m.path(p, "dir/text")).wait()
		m.touch(t, "stat", m.path(p, "nothing")).wait() // a negative entry below it
	}

	busy, done := m.fs.Invalidate(t.Context(), paths)
	slices.SortFunc(busy, store.StorePath.Compare)
	want := slices.Clone(paths[:3])
	slices.SortFunc(want, store.StorePath.Compare)
	if !slices.Equal(busy, want) {
		t.Fatalf("busy: %v, want %v", busy, want)
	}
	for _, p := range paths[:3] {
		if got := m.touch(t, "read", m.path(p, "dir/text")).wait(); got != "ok old" {
			t.Errorf("a busy object: got %q", got)
		}
	}
	// The others are hidden, and who wants one waits.
	if got := m.touch(t, "readdir", m.dir).wait(); len(got) == 0 {
		t.Error("the root cannot be listed meanwhile")
	}
	open := make(chan struct{})
	close(open)
	m.store.plan("only-looked-at", open, tree{"dir/text": "new and longer"})
	reader := m.touch(t, "read", m.path(paths[3], "dir/text"))
	n, _ := m.store.Number(paths[3])
	eventually(t, "the reader waits", func() bool { return m.fs.lookups.held(n) })
	m.store.deleted(t, paths[3])
	m.store.deleted(t, paths[4])
	if !reader.running() {
		t.Fatal("the reader did not wait")
	}
	done()
	if got := reader.wait(); got != "ok new and longer" {
		t.Errorf("after the deletion: got %q", got)
	}
	if got := m.touch(t, "stat", m.path(paths[4])).wait(); got != "ENOENT" {
		t.Errorf("what was deleted: got %q", got)
	}
}

// A path that was made invalid before anybody said so is forgotten all the same,
// and leaves no reservation.
func TestInvalidateAfterDeletion(t *testing.T) {
	m := newMounted(t)
	p := m.store.add(t, "gone", tree{"text": "x"})
	m.touch(t, "read", m.path(p, "text")).wait()
	n, _ := m.store.Number(p)
	m.store.deleted(t, p)
	m.store.mu.Lock()
	delete(m.store.numbers, p)
	m.store.mu.Unlock()
	_, done := m.fs.Invalidate(t.Context(), []store.StorePath{p})
	done()
	if got := m.touch(t, "read", m.path(p, "text")).wait(); got != "ENOENT" {
		t.Errorf("got %q", got)
	}
	eventually(t, "the kernel forgets", func() bool { return !m.fs.lookups.held(n) })
}

// A million names that are not here do not stay with us.
func TestPlaceholdersAreBounded(t *testing.T) {
	m := newMounted(t)
	m.fs.sweeper.max = 100
	waiting := m.store.plan("waiting", make(chan struct{}), nil)
	m.touch(t, "stat", m.path(waiting))
	eventually(t, "it waits", func() bool { return m.store.waiters(waiting) == 1 })
	const many = 3000
	for i := range many {
		// Without attributes, as a hostile program would: nothing is realised.
		fd, err := unix.Open(m.path(storePath(fmt.Sprint("absent-", i))), unix.O_PATH|unix.O_NOFOLLOW, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	if got := m.touch(t, "stat", m.path(waiting)+"x").wait(); got != "ENOENT" {
		t.Error(got)
	}
	eventually(t, "most reservations were released", func() bool {
		m.store.mu.Lock()
		defer m.store.mu.Unlock()
		return len(m.store.numbers) <= 110
	})
	if m.store.waiters(waiting) != 1 {
		t.Error("the one that waits was disturbed")
	}
	m.fs.lookups.mu.Lock()
	defer m.fs.lookups.mu.Unlock()
	if n := len(m.fs.lookups.objects); n > 110 {
		t.Errorf("%d objects are counted", n)
	}
}

// After Close every request is refused and the store is left alone.
func TestClosedWhileMounted(t *testing.T) {
	m := newMounted(t)
	here := m.store.add(t, "here", tree{"": "x"})
	p := m.store.plan("never", make(chan struct{}), nil)
	proc := m.touch(t, "stat", m.path(p))
	eventually(t, "it waits", func() bool { return m.store.waiters(p) == 1 })
	m.stop()
	if err := <-m.ended; err == nil {
		t.Error("Serve did not say why it ended")
	}
	m.ended <- nil // for the cleanup
	if got := proc.wait(); got != "EINTR" {
		t.Errorf("the waiter got %q", got)
	}
	if got := m.touch(t, "stat", m.path(here)).wait(); got != "ENOTCONN" {
		t.Errorf("a new lookup got %q", got)
	}
	if _, err := os.Stat(filepath.Join(m.store.dir, here.String())); err != nil {
		t.Error(err)
	}
}

// What was in use when it should be forgotten is forgotten when nobody uses it any more, without anybody looking at it again.
func TestInvalidateAfterUse(t *testing.T) {
	m := newMounted(t)
	p := m.store.add(t, "used", tree{"dir/text": "x", "dir/more": "y", "top": "z"})
	fd, err := unix.Open(m.path(p, "dir/text"), unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	m.touch(t, "read", m.path(p, "dir/more")).wait()
	for range 2 {
		busy, done := m.fs.Invalidate(t.Context(), []store.StorePath{p})
		done()
		if len(busy) != 1 {
			t.Error("it is in use, and not busy")
		}
	}
	unix.Close(fd)
	busy, done := m.fs.Invalidate(t.Context(), []store.StorePath{p})
	done()
	if len(busy) > 0 {
		t.Error("nobody uses it any more, and it is busy")
	}
	if got := m.touch(t, "read", m.path(p, "dir/text")).wait(); got != "ok x" {
		t.Errorf("afterwards: %q", got)
	}
}
