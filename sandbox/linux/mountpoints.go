package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// An input of the store directory is mounted on an entry of BuildStore, which has to be made and taken away again. On ext4
// that is dear: a new inode is looked for among all that were deleted in the last five seconds, and a busy builder
// deletes thousands (measured: 0.5 to 2.5 ms a mkdir, where the mount takes 10 us). So mount points are kept and
// renamed to where they are needed; see docs/decisions/0051.

// maxIdlePoints bounds what is kept of each kind.
const maxIdlePoints = 1 << 15

// mountPoints are the empty directories and files of one Runner. Its methods may be called concurrently.
type mountPoints struct {
	dir int // where idle ones lie, or -1: none are kept

	mu    sync.Mutex // guards what follows
	next  uint64     // the next name that is not taken
	dirs  []string   // idle directories
	files []string   // idle files
}

// openMountPoints takes over what an earlier Runner left in dir.
func openMountPoints(dir string) (*mountPoints, error) {
	if dir == "" {
		return &mountPoints{dir: -1}, nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	p := &mountPoints{}
	if p.dir, err = unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	for _, e := range entries {
		n, err := strconv.ParseUint(e.Name(), 10, 63)
		switch {
		case err != nil:
			continue // not ours
		case e.Type().IsDir():
			p.dirs = append(p.dirs, e.Name())
		case e.Type().IsRegular():
			p.files = append(p.files, e.Name())
		}
		p.next = max(p.next, n+1)
	}
	return p, nil
}

func (p *mountPoints) close() {
	if p.dir >= 0 {
		unix.Close(p.dir)
	}
}

func (p *mountPoints) idle(isDir bool) *[]string {
	if isDir {
		return &p.dirs
	}
	return &p.files
}

// place makes name in store a mount point.
func (p *mountPoints) place(store int, name string, mode uint32) error {
	isDir := mode&unix.S_IFMT == unix.S_IFDIR
	if kept := p.take(isDir); kept != "" {
		err := unix.Renameat2(p.dir, kept, store, name, unix.RENAME_NOREPLACE)
		if err == nil {
			return nil
		}
		// Another file system, or one that cannot do it: the plain way tells whether name is the problem.
		p.giveBack(isDir, kept)
	}
	if isDir {
		return unix.Mkdirat(store, name, 0o755)
	}
	return unix.Mknodat(store, name, unix.S_IFREG|0o444, 0)
}

func (p *mountPoints) take(isDir bool) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := p.idle(isDir)
	if len(*idle) == 0 {
		return ""
	}
	last := len(*idle) - 1
	kept := (*idle)[last]
	*idle = (*idle)[:last]
	return kept
}

func (p *mountPoints) giveBack(isDir bool, kept string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := p.idle(isDir)
	*idle = append(*idle, kept)
}

// remove takes away name, which place made, or a symbolic link that the child made. Only a link or what is
// empty goes: the caller owns the directory and will look at whatever else is in it.
func (p *mountPoints) remove(store int, name string) {
	var st unix.Stat_t
	if unix.Fstatat(store, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if !p.keep(store, name, true, int(st.Uid)) {
			_ = unix.Unlinkat(store, name, unix.AT_REMOVEDIR)
		}
	case unix.S_IFREG:
		if st.Size == 0 && !p.keep(store, name, false, int(st.Uid)) {
			_ = unix.Unlinkat(store, name, 0)
		}
	case unix.S_IFLNK:
		_ = unix.Unlinkat(store, name, 0)
	}
}

// keep moves a mount point to the idle ones. What is not of our making, as its owner shows, is not kept.
func (p *mountPoints) keep(store int, name string, isDir bool, owner int) bool {
	if p.dir < 0 || owner != os.Geteuid() {
		return false
	}
	p.mu.Lock()
	full := len(*p.idle(isDir)) >= maxIdlePoints
	kept := strconv.FormatUint(p.next, 10)
	p.next++
	p.mu.Unlock()
	if full || unix.Renameat2(store, name, p.dir, kept, unix.RENAME_NOREPLACE) != nil {
		return false
	}
	p.giveBack(isDir, kept)
	return true
}

// placement is the mount points of one build.
type placement struct {
	points *mountPoints
	store  int // BuildStore
	names  []string
}

// prepare makes the mount points of s. The placement is to be released even if there is an error.
func (p *mountPoints) prepare(s *sandbox.Spec) (*placement, error) {
	store, err := unix.Open(s.BuildStore, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, setupError(sandbox.StageInput, "open", s.BuildStore, err)
	}
	placed := &placement{points: p, store: store}
	for _, m := range s.Mounts {
		name, ok := inStore(s, m)
		if !ok {
			continue
		}
		var st unix.Stat_t
		if err := unix.Lstat(m.Source, &st); err != nil {
			if err == unix.ENOENT && m.Optional {
				continue
			}
			return placed, setupError(sandbox.StageInput, "lstat", m.Source, err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK { // a link is made by the child, and is no mount
			if err := p.place(store, name, st.Mode); err != nil {
				return placed, setupError(sandbox.StageInput, "mount point", m.Target, err)
			}
		}
		placed.names = append(placed.names, name)
	}
	return placed, nil
}

// release takes the mount points away. The build is over, so nothing is mounted on them any more.
func (p *placement) release() {
	if p == nil {
		return
	}
	for _, name := range p.names {
		p.points.remove(p.store, name)
	}
	unix.Close(p.store)
}
