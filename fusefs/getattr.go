package fusefs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// GetAttr waits if the object is not here: with default_permissions the kernel
// asks for attributes before anything else, and holds no lock meanwhile.
func (f *FS) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if !f.enter() {
		return notConnected
	}
	defer f.leave()
	id := nodeID(in.NodeId)
	var st unix.Stat_t
	switch {
	case id == rootID:
		f.attributes(rootID, kindDirectory, &st, &out.Attr)
	case id.isTop():
		k, code := f.realised(cancel, &in.InHeader, &st)
		if code != fuse.OK {
			return code
		}
		f.attributes(newNodeID(id.object(), k, 0), k, &st, &out.Attr)
	default:
		path, err := f.path(id)
		if err == nil {
			err = statBeneath(f.dirfd, path, &st)
		}
		if err != nil {
			return f.failure("stat", id, err)
		}
		f.attributes(id, id.kind(), &st, &out.Attr)
	}
	out.SetTimeout(forever)
	return fuse.OK
}

// Readlink waits like GetAttr, for the same reasons: nobody asks for the
// attributes of a symlink on the way.
func (f *FS) Readlink(cancel <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	if !f.enter() {
		return nil, notConnected
	}
	defer f.leave()
	id := nodeID(h.NodeId)
	if id.isTop() {
		var st unix.Stat_t
		if _, code := f.realised(cancel, h, &st); code != fuse.OK {
			return nil, code
		}
	}
	path, err := f.path(id)
	if err != nil {
		return nil, f.failure("readlink", id, err)
	}
	target, err := readlinkBeneath(f.dirfd, path)
	if err != nil {
		return nil, f.failure("readlink", id, err)
	}
	return target, fuse.OK
}

// realised waits until the object that h is about is here, and stats it. If it
// is not of the kind that the node promised, ESTALE makes the kernel walk the
// whole path again, once; LOOKUP then gives the real node.
func (f *FS) realised(cancel <-chan struct{}, h *fuse.InHeader, st *unix.Stat_t) (kind, fuse.Status) {
	id := nodeID(h.NodeId)
	n := id.object()
	p, ok := f.objects.PathOf(n)
	if !ok {
		return 0, fuse.Status(unix.ESTALE)
	}
	if !f.isPresent(n, p) {
		if code := f.await(cancel, h.Caller, n, p); code != fuse.OK {
			return 0, code
		}
		if q, ok := f.objects.PathOf(n); !ok || q != p {
			return 0, fuse.Status(unix.ESTALE) // the reservation was lost, it came with another number
		}
	}
	k, code := f.statObject(n, p, st)
	if code != fuse.OK {
		return 0, code
	}
	promised := id.kind()
	if promised == kindAlias {
		promised = kindSymlink
	}
	if k != promised {
		return 0, fuse.Status(unix.ESTALE)
	}
	return k, fuse.OK
}
