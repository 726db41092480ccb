package content

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNotPlain: something cannot be hashed flat.
var ErrNotPlain = errors.New("it should be a non-executable regular file")

// OpenPlainFile opens a regular file that nobody may execute; else the error is ErrNotPlain.
func OpenPlainFile(dirfd int, name string) (*os.File, error) {
	fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		return nil, ErrNotPlain
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	st, err := f.Stat()
	if err == nil && (!st.Mode().IsRegular() || st.Mode()&0o111 != 0) {
		err = ErrNotPlain
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
