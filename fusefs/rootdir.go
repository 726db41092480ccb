package fusefs

import (
	"context"
	"slices"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"larder/store"
)

// rootListing is the numbers of the objects that were valid when somebody last
// began to read the root, sorted. Entries are in order of number, which is also
// their offset, so a reader can go on with a newer listing than it began with:
// what is here all the time is seen once. Methods may be called concurrently.
type rootListing struct {
	mu      sync.Mutex // guards numbers; the slice itself never changes
	numbers []uint32
}

func (r *rootListing) get() []uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.numbers
}

func (r *rootListing) set(numbers []uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.numbers = numbers
}

// readRoot lists what is here, nothing else.
func (f *FS) readRoot(in *fuse.ReadIn, out *fuse.DirEntryList, plus bool) fuse.Status {
	numbers := f.root.get()
	if in.Offset < firstOffset || numbers == nil {
		var err error
		if numbers, err = f.listRoot(f.ctx); err != nil {
			f.log.Error("cannot list the store", "err", err)
			return fuse.EIO
		}
	}
	if !addDots(out, in.Offset, rootID, rootID, plus) {
		return fuse.OK
	}
	start := 0
	if in.Offset >= firstOffset {
		start, _ = slices.BinarySearchFunc(numbers, in.Offset-firstOffset, func(n uint32, done uint64) int {
			if uint64(n) <= done {
				return -1
			}
			return 1
		})
	}
	for _, n := range numbers[start:] {
		p, ok := f.objects.PathOf(n)
		if ok && f.isPresent(n, p) && !f.addRoot(n, p, out, plus) {
			return fuse.OK
		}
	}
	if len(out.Bytes()) == 0 {
		endUncached(out, plus)
	}
	return fuse.OK
}

func (f *FS) listRoot(ctx context.Context) ([]uint32, error) {
	numbers := []uint32{}
	for p, err := range f.objects.AllValid(ctx) {
		if err != nil {
			return nil, err
		}
		n, err := f.objects.Number(p)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	f.root.set(numbers)
	return numbers, nil
}

// addRoot adds one object; false if the buffer is full. One that cannot be
// looked at is left out here, and is an error when somebody opens it.
func (f *FS) addRoot(n uint32, p store.StorePath, out *fuse.DirEntryList, plus bool) bool {
	var st unix.Stat_t
	k, known := f.kinds.get(n)
	if !known || plus {
		var code fuse.Status
		if k, code = f.statObject(n, p, &st); code != fuse.OK {
			return true
		}
	}
	id := newNodeID(n, k, 0)
	e := fuse.DirEntry{Name: p.String(), Mode: k.mode(), Ino: uint64(id), Off: uint64(n) + firstOffset}
	if !plus {
		return out.AddDirEntry(e)
	}
	entry := out.AddDirLookupEntry(e)
	if entry == nil {
		return false
	}
	if held, err := f.hold(p); err == nil && held == n {
		f.fillEntry(id, &st, entry)
	} else if err == nil {
		f.release(held, 1)
	}
	return true
}

// endUncached ends the listing of the root so that the kernel does not cache it.
// Directories that were not opened are always cached, and the root changes. The
// kernel marks a cached listing as complete when a reply is empty. So the reply
// is not empty: it ends in the middle of an entry, at which the kernel stops,
// as it does at the end of any full buffer, and finds nothing before it.
func endUncached(out *fuse.DirEntryList, plus bool) {
	if plus {
		// An entry without the attributes before it is shorter than any other.
		out.AddDirEntry(fuse.DirEntry{})
		return
	}
	// Read as struct fuse_dirent {u64 ino, off; u32 namelen, type; name}, this
	// is one with a name longer than the reply, in either byte order.
	const namelen = 1000
	if e := out.AddDirLookupEntry(fuse.DirEntry{}); e != nil {
		e.EntryValid = namelen<<32 | namelen
	}
}
