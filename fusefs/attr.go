package fusefs

import (
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	// forever is for what cannot change while the object lives. The kernel
	// counts in jiffies and cuts what it cannot represent.
	forever = 10 * 365 * 24 * time.Hour

	// topEntryTimeout is for the name of a present object: long, but finite,
	// so that use is noticed now and then.
	topEntryTimeout = time.Hour
)

// attributes are what stat shows: the canonical metadata of a store object,
// whatever the backing file has.
func (f *FS) attributes(id nodeID, k kind, st *unix.Stat_t, out *fuse.Attr) {
	*out = fuse.Attr{
		Ino:   uint64(id),
		Atime: 1, Mtime: 1, Ctime: 1,
		Nlink: 1,
		Owner: fuse.Owner{Uid: f.uid, Gid: f.gid},
		Mode:  k.mode(),
	}
	switch k {
	case kindDirectory:
		out.Mode |= 0o555
	case kindRegular:
		out.Mode |= 0o444
		if st.Mode&0o111 != 0 {
			out.Mode |= 0o111
		}
		out.Size = uint64(st.Size)
	default:
		out.Mode |= 0o777
		out.Size = uint64(st.Size)
	}
	out.Blocks = (out.Size + 511) / 512
}

// fillEntry answers a LOOKUP with something that is here.
func (f *FS) fillEntry(id nodeID, st *unix.Stat_t, out *fuse.EntryOut) {
	*out = fuse.EntryOut{NodeId: uint64(id)}
	f.attributes(id, id.kind(), st, &out.Attr)
	out.SetAttrTimeout(forever)
	out.SetEntryTimeout(forever)
	if id.isTop() {
		out.SetEntryTimeout(topEntryTimeout)
	}
}

// fillPlaceholder answers a LOOKUP with something that is not here: nothing of
// it may be cached, so that the kernel asks for its attributes, and waits
// there, before anything else can happen.
func (f *FS) fillPlaceholder(id nodeID, out *fuse.EntryOut) {
	*out = fuse.EntryOut{NodeId: uint64(id)}
	k := id.kind()
	if k == kindAlias {
		k = kindSymlink
	}
	f.attributes(newNodeID(id.object(), k, 0), k, &unix.Stat_t{}, &out.Attr)
}
