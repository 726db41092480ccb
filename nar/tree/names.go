package tree

import "golang.org/x/sys/unix"

// ReadNames reads the names in the directory that fd is open for, from where it stands, in no order and without "." and
// "..". A signal does not cut it short, see [Retry].
func ReadNames(fd int) (names []string, err error) {
	buf := make([]byte, 64<<10)
	for {
		var n int
		err := Retry(func() (err error) {
			n, err = unix.ReadDirent(fd, buf)
			return err
		})
		if err != nil || n <= 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}
