package local

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"larder/nar"
	"larder/nar/tree"
	"larder/store"
)

// share makes a file a link to the one of the same contents that others are links to, or makes it that one.
func (o *optimiser) share(in int, name string, st *unix.Stat_t) error {
	h := sha256.New()
	if _, err := nar.DumpAt(o.ctx, h, in, name); err != nil {
		return err
	}
	key := store.SumOf(store.SHA256, h).Encode(store.Nix32)
	for range 100 { // each time somebody else came between, or the link was of no use
		again, err := o.linkTo(key, in, name, st)
		if err != nil || !again {
			return err
		}
	}
	return fmt.Errorf("%s/%s changes all the time", LinksDir, key)
}

// linkTo is one attempt of share.
func (o *optimiser) linkTo(key string, in int, name string, st *unix.Stat_t) (again bool, err error) {
	var target unix.Stat_t
	err = tree.LstatAt(o.links, key, &target)
	switch {
	case err == unix.ENOENT:
		return o.becomeTarget(key, in, name)
	case err != nil:
		return false, err
	case target.Ino == st.Ino:
		return false, nil
	}
	same, err := o.same(key, in, name)
	if errors.Is(err, unix.ENOENT) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if !same {
		o.s.log.Warn("a shared file is damaged and is shared no more", "file", o.s.objectDir+"/"+LinksDir+"/"+key)
		return true, o.drop(key)
	}
	return o.exchange(key, in, name, st)
}

// becomeTarget makes a file the one that others become links to.
func (o *optimiser) becomeTarget(key string, in int, name string) (again bool, err error) {
	err = tree.Retry(func() error { return unix.Linkat(in, name, o.links, key, 0) })
	switch err {
	case unix.EEXIST:
		return true, nil
	case unix.EMLINK, unix.ENOSPC: // a file with all the links it can have, a directory that can't grow
		return false, nil
	}
	return false, err
}

// drop removes a link that is of no use.
func (o *optimiser) drop(key string) error {
	if err := tree.UnlinkAt(o.links, key, 0); err != nil && err != unix.ENOENT {
		return err
	}
	return nil
}

// same compares the file with what is linked to under its hash, which somebody may have damaged since, and makes that
// durable if need be.
func (o *optimiser) same(key string, in int, name string) (bool, error) {
	target, err := openRegularAt(o.links, key)
	if err != nil {
		return false, err
	}
	defer target.Close()
	file, err := openRegularAt(in, name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	a, err := file.Stat()
	if err != nil {
		return false, err
	}
	b, err := target.Stat()
	if err != nil || a.Mode() != b.Mode() || a.Size() != b.Size() {
		return false, err
	}
	if same, err := sameBytes(target, file); err != nil || !same {
		return false, err
	}
	if o.durable {
		return true, target.Sync()
	}
	return true, nil
}

func openRegularAt(dirfd int, name string) (*os.File, error) {
	fd, err := openBelow(dirfd, name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func sameBytes(a, b io.Reader) (bool, error) {
	const size = 128 << 10
	x, y := make([]byte, size), make([]byte, size)
	for {
		n, err := io.ReadFull(a, x)
		m, err2 := io.ReadFull(b, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		ended := func(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }
		switch {
		case ended(err) && ended(err2):
			return true, nil
		case err != nil && !ended(err):
			return false, err
		case err2 != nil && !ended(err2):
			return false, err2
		case err != nil || err2 != nil:
			return false, nil
		}
	}
}

// exchange puts a link in the place of a file, in one step.
func (o *optimiser) exchange(key string, in int, name string, st *unix.Stat_t) (again bool, err error) {
	temp, err := o.s.temps.fresh()
	if err != nil {
		return false, err
	}
	defer o.s.temps.done(temp)
	err = tree.Retry(func() error { return unix.Linkat(o.links, key, o.s.objects, temp, 0) })
	switch err {
	case nil:
	case unix.ENOENT: // GC has removed it
		return true, nil
	case unix.EMLINK: // it has all the links it can have: the next ones go to another file
		return true, o.drop(key)
	default:
		return false, err
	}
	if err = o.s.point(pointShare); err == nil {
		err = o.change()
	}
	if err == nil {
		err = tree.Retry(func() error { return unix.Renameat(o.s.objects, temp, in, name) })
	}
	if err != nil {
		return false, errors.Join(err, tree.UnlinkAt(o.s.objects, temp, 0))
	}
	o.result.Files++
	if st.Nlink == 1 {
		o.result.Bytes += st.Blocks * 512
	}
	return false, nil
}
