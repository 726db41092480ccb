package fusefs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Open says that files need not be opened, for good: READ comes with the node.
func (f *FS) Open(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.ENOSYS }

// Flush says that closing a file is nothing to us, for good. Without it every
// close would be a round trip.
func (f *FS) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// Read never waits for a realisation: a node whose file can be read is here.
// Splicing pages to the kernel was no faster than this copy.
func (f *FS) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if !f.enter() {
		return nil, notConnected
	}
	defer f.leave()
	id := nodeID(in.NodeId)
	if id.kind() != kindRegular {
		return nil, fuse.EINVAL
	}
	file, err := f.files.get(id)
	if err != nil {
		return nil, f.failure("read", id, err)
	}
	defer f.files.put(file)
	n, err := readAt(file, buf, in.Offset)
	if err != nil {
		return nil, f.failure("read", id, err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// readAt fills buf as far as the file goes.
func readAt(file *file, buf []byte, offset uint64) (got int, err error) {
	if offset >= uint64(file.size) {
		return 0, nil
	}
	want := int(min(uint64(len(buf)), uint64(file.size)-offset))
	for got < want {
		n, err := unix.Pread(file.fd, buf[got:want], int64(offset)+int64(got))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		got += n
	}
	return got, nil
}

func (f *FS) openNode(id nodeID) (int, error) {
	path, err := f.path(id)
	if err != nil {
		return -1, err
	}
	return openBeneath(f.dirfd, path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
}
