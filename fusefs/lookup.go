package fusefs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"larder/store"
)

// Lookup never waits for a realisation and never asks anybody for one: while a
// LOOKUP waits, its whole directory does.
func (f *FS) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if !f.enter() {
		return notConnected
	}
	defer f.leave()
	if id := nodeID(h.NodeId); id != rootID {
		return f.lookupInside(id, name, out)
	}
	p, err := store.ParseStorePath(name)
	if err != nil {
		return fuse.ENOENT
	}
	return f.lookupRoot(h, p, out)
}

func (f *FS) lookupRoot(h *fuse.InHeader, p store.StorePath, out *fuse.EntryOut) fuse.Status {
	n, err := f.hold(p)
	if err != nil {
		f.log.Error("no number for a path", "path", p.String(), "err", err)
		return fuse.EIO
	}
	// The order matters: who deletes retires first and looks at the count then.
	if !f.isPresent(n, p) {
		id := f.placeholder(n, p, h)
		f.sweeper.note(n)
		f.fillPlaceholder(id, out)
		return fuse.OK
	}
	var st unix.Stat_t
	k, code := f.statObject(n, p, &st)
	if code != fuse.OK {
		f.release(n, 1)
		return fuse.EIO // the store says that it is here
	}
	f.fillEntry(newNodeID(n, k, 0), &st, out)
	return fuse.OK
}

func (f *FS) lookupInside(dir nodeID, name string, out *fuse.EntryOut) fuse.Status {
	x, code := f.directory(dir)
	if code != fuse.OK {
		return code
	}
	e, ok := x.find(dir.entry(), name)
	if !ok {
		// A name that is not there will not be while the object lives: node 0
		// with a timeout is a negative entry that the kernel keeps.
		*out = fuse.EntryOut{}
		out.SetEntryTimeout(forever)
		return fuse.OK
	}
	id := newNodeID(dir.object(), x.kinds[e], e)
	var st unix.Stat_t
	path, err := f.path(id)
	if err == nil {
		err = statBeneath(f.dirfd, path, &st)
	}
	if err != nil {
		return f.failure("lookup", id, err)
	}
	f.hold1(id.object())
	f.fillEntry(id, &st, out)
	return fuse.OK
}

// directory is the index of the object that a directory is in. A placeholder
// gets ESTALE unless its object has come: waiting is for GETATTR.
func (f *FS) directory(id nodeID) (*index, fuse.Status) {
	n := id.object()
	if id.isTop() {
		p, ok := f.objects.PathOf(n)
		if !ok || id.kind() == kindAlias || !f.isPresent(n, p) {
			return nil, fuse.Status(unix.ESTALE)
		}
	}
	x, err := f.indexes.get(n)
	if err != nil {
		return nil, f.failure("read directory", id, err)
	}
	if e := id.entry(); !x.valid(e) || x.kinds[e] != id.kind() {
		return nil, fuse.Status(unix.ESTALE)
	}
	if id.kind() != kindDirectory {
		return nil, fuse.ENOTDIR
	}
	return x, fuse.OK
}

// hold returns the number of a path, with one reference counted.
func (f *FS) hold(p store.StorePath) (uint32, error) {
	for {
		n, err := f.objects.Number(p)
		if err != nil {
			return 0, err
		}
		if ending := f.lookups.add(n); ending != nil {
			<-ending // only as long as ReleaseNumber takes
			continue
		}
		// The reservation may have been released in between.
		if q, ok := f.objects.PathOf(n); ok && q == p {
			return n, nil
		}
		f.release(n, 1)
	}
}

// hold1 counts a reference to an object that the kernel holds already.
func (f *FS) hold1(n uint32) {
	for {
		ending := f.lookups.add(n)
		if ending == nil {
			return
		}
		<-ending
	}
}

// release takes references back, and with the last one the reservation of a
// number for a path that never came.
func (f *FS) release(n uint32, count uint64) {
	if !f.lookups.forget(n, count) {
		return
	}
	if p, ok := f.objects.PathOf(n); ok && !f.objects.IsPresent(p) {
		f.objects.ReleaseNumber(n)
	}
	f.lookups.ended(n)
}

// releaseUnused ends the reservation of a path that is not here, unless the kernel
// knows it.
func (f *FS) releaseUnused(n uint32) {
	if f.lookups.add(n) == nil {
		f.release(n, 1)
	}
}

// Forget says that the kernel has dropped references to a node.
func (f *FS) Forget(id, count uint64) {
	if nodeID(id) != rootID && f.enter() {
		defer f.leave()
		f.release(nodeID(id).object(), count)
	}
}
