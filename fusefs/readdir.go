package fusefs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Offsets in a directory: 1 is behind ".", 2 behind "..", 3+i behind entry i,
// which for the root is the object of number i. Nothing is remembered between
// calls, because with zero-message opens there is no handle to keep it by.
const firstOffset = 3

// OpenDir says that directories need not be opened, for good.
func (f *FS) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.ENOSYS }

// ReadDir lists a directory.
func (f *FS) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if !f.enter() {
		return notConnected
	}
	defer f.leave()
	if nodeID(in.NodeId) == rootID {
		return f.readRoot(in, out, false)
	}
	return f.readInside(in, out, false)
}

// ReadDirPlus lists a directory and looks everything up.
func (f *FS) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if !f.enter() {
		return notConnected
	}
	defer f.leave()
	if nodeID(in.NodeId) == rootID {
		return f.readRoot(in, out, true)
	}
	return f.readInside(in, out, true)
}

func (f *FS) readInside(in *fuse.ReadIn, out *fuse.DirEntryList, plus bool) fuse.Status {
	dir := nodeID(in.NodeId)
	x, code := f.directory(dir)
	if code != fuse.OK {
		return code
	}
	parent := rootID
	if e := dir.entry(); e != 0 {
		parent = newNodeID(dir.object(), kindDirectory, x.parents[e])
	}
	if !addDots(out, in.Offset, dir, parent, plus) {
		return fuse.OK
	}
	list := x.list(dir.entry())
	if in.Offset >= firstOffset {
		list = list[min(in.Offset-firstOffset+1, uint64(len(list))):]
	}
	off := max(in.Offset+1, firstOffset)
	if !plus {
		for i, e := range list {
			id := newNodeID(dir.object(), x.kinds[e], e)
			if !out.AddDirEntry(fuse.DirEntry{Name: x.name(e), Mode: id.kind().mode(), Ino: uint64(id), Off: off + uint64(i)}) {
				break
			}
		}
		return fuse.OK
	}
	return f.readInsidePlus(dir, x, list, off, out)
}

func (f *FS) readInsidePlus(dir nodeID, x *index, list []uint32, off uint64, out *fuse.DirEntryList) fuse.Status {
	if len(list) == 0 {
		return fuse.OK
	}
	path, err := f.path(dir)
	if err != nil {
		return f.failure("read directory", dir, err)
	}
	fd, err := openBeneath(f.dirfd, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return f.failure("read directory", dir, err)
	}
	defer unix.Close(fd)
	for i, e := range list {
		id := newNodeID(dir.object(), x.kinds[e], e)
		var st unix.Stat_t
		if err := statAt(fd, x.name(e), &st); err != nil {
			if i > 0 {
				break // what there is first; the error comes when it is asked for again
			}
			return f.failure("read directory", id, err)
		}
		entry := out.AddDirLookupEntry(fuse.DirEntry{Name: x.name(e), Mode: id.kind().mode(), Ino: uint64(id), Off: off + uint64(i)})
		if entry == nil {
			break
		}
		f.hold1(id.object())
		f.fillEntry(id, &st, entry)
	}
	return fuse.OK
}

// addDots adds "." and ".." unless they were read already; false if the buffer
// is full. The kernel wants no lookup of them.
func addDots(out *fuse.DirEntryList, offset uint64, dir, parent nodeID, plus bool) bool {
	for i, e := range []fuse.DirEntry{{Name: ".", Ino: uint64(dir)}, {Name: "..", Ino: uint64(parent)}} {
		e.Off, e.Mode = uint64(i)+1, unix.S_IFDIR
		if offset >= e.Off {
			continue
		}
		if plus && out.AddDirLookupEntry(e) == nil || !plus && !out.AddDirEntry(e) {
			return false
		}
	}
	return true
}
