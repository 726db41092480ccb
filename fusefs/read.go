package fusefs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// spliceMin is from how many bytes on pages are spliced to the kernel instead of
// copied through a buffer; below, the pipe costs more than the copy.
const spliceMin = 64 << 10

// Open says that files need not be opened, for good: READ comes with the node.
func (f *FS) Open(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.ENOSYS }

// Flush says that closing a file is nothing to us, for good. Without it every
// close would be a round trip.
func (f *FS) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// Read never waits for a realisation: a node whose file can be read is here.
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
	r := &readResult{files: f.files, file: file, off: int64(in.Offset)}
	r.size = int(max(0, min(int64(len(buf)), file.size-r.off)))
	if r.size >= spliceMin {
		return r, fuse.OK
	}
	data, code := r.Bytes(buf)
	r.Done()
	return fuse.ReadResultData(data), code
}

func (f *FS) openNode(id nodeID) (int, error) {
	path, err := f.path(id)
	if err != nil {
		return -1, err
	}
	return openBeneath(f.dirfd, path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
}

// readResult is a piece of a backing file that the server splices to the kernel,
// or reads if it cannot.
type readResult struct {
	files *files
	file  *file
	off   int64
	size  int
}

func (r *readResult) Seekable() (fd uintptr, off int64, size int) {
	return uintptr(r.file.fd), r.off, r.size
}

func (r *readResult) Size() int { return r.size }

func (r *readResult) Bytes(buf []byte) ([]byte, fuse.Status) {
	got := 0
	for want := min(r.size, len(buf)); got < want; {
		n, err := unix.Pread(r.file.fd, buf[got:want], r.off+int64(got))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fuse.ToStatus(err)
		}
		if n == 0 {
			break
		}
		got += n
	}
	return buf[:got], fuse.OK
}

func (r *readResult) Done() { r.files.put(r.file) }
