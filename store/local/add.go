package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"larder/nar"
	"larder/nar/tree"
	"larder/store"
	"larder/store/derivation"
)

// AddNAR unpacks a NAR and registers it, if its hash and size are what info says; otherwise the error wraps store.ErrCorrupt or
// is a *nar.FormatError. If the path is valid already nothing is read. Whether info is to be believed (signatures, content
// address) is the caller's decision. References must be valid.
func (s *Store) AddNAR(ctx context.Context, info *store.PathInfo, r io.Reader) error {
	valid, err := s.Valid(ctx, []store.StorePath{info.Path})
	if err != nil || valid[0] {
		return err
	}
	return s.withTemp(ctx, func(temp string) error {
		hash := sha256.New()
		// One byte more than there should be is enough to see that there is more.
		limited := io.LimitReader(r, int64(info.NarSize)+1)
		size, err := nar.RestoreAt(ctx, io.TeeReader(limited, hash), s.objects, temp, nar.RestoreOptions{Canonical: true})
		if err != nil {
			return &store.PathError{Op: "add", Dir: s.dir, Path: info.Path, Err: err}
		}
		got := store.SumOf(store.SHA256, hash)
		if uint64(size) != info.NarSize || got != info.NarHash {
			err := fmt.Errorf("the NAR has hash %s and %d bytes, expected %s and %d: %w",
				got.Text(store.SRI), size, info.NarHash.Text(store.SRI), info.NarSize, store.ErrCorrupt)
			return &store.PathError{Op: "add", Dir: s.dir, Path: info.Path, Err: err}
		}
		return s.Register(ctx, store.Addition{Info: info, Temp: temp})
	})
}

// AddTree copies the file or tree at path, which is not in the store, and registers it under the path that its contents give.
// One pass over the data copies and hashes. With store.Flat and store.Text it must be a regular file, and the executable bit is
// dropped; with store.Git it must not be a bare executable or symlink. What it refers to must be valid; it can't refer to itself.
func (s *Store) AddTree(ctx context.Context, name, path string, m store.Method, algo store.HashAlgo, refs store.References) (store.StorePath, error) {
	if err := store.CheckName(name); err != nil {
		return store.StorePath{}, err
	}
	if refs.Self {
		return store.StorePath{}, fmt.Errorf("add %s: its own path is not known before it is hashed, so it can't refer to itself", path)
	}
	if algo.Size() == 0 {
		return store.StorePath{}, fmt.Errorf("add %s: no hash algorithm", path)
	}
	if m == store.Git {
		return s.addGit(ctx, name, path, algo, refs)
	}
	if m != store.Recursive {
		f, err := openRegular(path)
		if err != nil {
			return store.StorePath{}, fmt.Errorf("add %s: %w", path, err)
		}
		defer f.Close()
		return s.addFile(ctx, name, f, m, algo, refs)
	}
	sum := newSums(algo)
	return s.addContent(ctx, name, refs, func(temp string) (store.ContentAddress, *sums, error) {
		err := s.copyTree(ctx, path, temp, sum)
		return store.ContentAddress{Method: m, Hash: sum.own()}, sum, err
	})
}

// openRegular opens a file that must be regular; symlinks to one will do.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sums hashes a NAR on its way: SHA-256 for the path info, and the algorithm of the content address.
type sums struct {
	narHash hash.Hash
	narSize uint64
	algo    store.HashAlgo
	other   hash.Hash // nil if algo is SHA-256, too
}

func newSums(algo store.HashAlgo) *sums {
	s := &sums{narHash: sha256.New(), algo: algo}
	if algo != store.SHA256 {
		s.other = algo.New()
	}
	return s
}

func (s *sums) Write(b []byte) (int, error) {
	s.narHash.Write(b)
	if s.other != nil {
		s.other.Write(b)
	}
	s.narSize += uint64(len(b))
	return len(b), nil
}

func (s *sums) own() store.Hash {
	if s.other != nil {
		return store.SumOf(s.algo, s.other)
	}
	return store.SumOf(store.SHA256, s.narHash)
}

// copyTree dumps a tree into a restore. The dump works in a goroutine that ends before copyTree does.
func (s *Store) copyTree(ctx context.Context, path, temp string, sum *sums) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	dumped := make(chan error, 1)
	go func() {
		_, err := nar.Dump(ctx, io.MultiWriter(sum, w), path)
		w.CloseWithError(err) // nil: end of file
		dumped <- err
	}()
	_, err := nar.RestoreAt(ctx, r, s.objects, temp, nar.RestoreOptions{Canonical: true})
	r.CloseWithError(err)
	if failed := <-dumped; failed != nil && !errors.Is(failed, io.ErrClosedPipe) && (err == nil || errors.Is(err, failed)) {
		return failed
	}
	return err
}

// addFile adds the contents of a file that is not executable.
func (s *Store) addFile(ctx context.Context, name string, f *os.File, m store.Method, algo store.HashAlgo, refs store.References) (store.StorePath, error) {
	st, err := f.Stat()
	if err != nil {
		return store.StorePath{}, err
	}
	sum, own := newSums(store.SHA256), algo.New()
	return s.addContent(ctx, name, refs, func(temp string) (store.ContentAddress, *sums, error) {
		archive := nar.NewWriter(sum)
		if err := archive.WriteEntry(&nar.Entry{Type: nar.Regular, Size: st.Size()}); err != nil {
			return store.ContentAddress{}, nil, err
		}
		err := s.writeFile(temp, func(w io.Writer) error {
			return copyExactly(ctx, io.MultiWriter(w, own, archive), f, st.Size())
		})
		if err != nil {
			return store.ContentAddress{}, nil, &fs.PathError{Op: "copy", Path: f.Name(), Err: err}
		}
		return store.ContentAddress{Method: m, Hash: store.SumOf(algo, own)}, sum, archive.Close()
	})
}

// copyExactly copies a file that must have size bytes.
func copyExactly(ctx context.Context, w io.Writer, r io.Reader, size int64) error {
	buf := make([]byte, 256<<10)
	for left := size; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if left -= int64(n); left < 0 || err == io.EOF && left > 0 {
			return nar.ErrChanged
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// AddText registers a file with the given contents, under the path that they and the references give. The references must
// be valid.
func (s *Store) AddText(ctx context.Context, name string, text []byte, refs []store.StorePath) (store.StorePath, error) {
	ca := store.ContentAddress{Method: store.Text, Hash: store.SHA256.Sum(text)}
	p, err := s.dir.ContentPath(name, ca, store.References{Others: refs})
	if err != nil {
		return p, err
	}
	// It costs nothing to know the path beforehand, and derivations are added again and again.
	if valid, err := s.Valid(ctx, []store.StorePath{p}); err != nil || valid[0] {
		return p, err
	}
	return s.addContent(ctx, name, store.References{Others: refs}, func(temp string) (store.ContentAddress, *sums, error) {
		sum := newSums(store.SHA256)
		archive := nar.NewWriter(sum)
		err := archive.WriteEntry(&nar.Entry{Type: nar.Regular, Size: int64(len(text))})
		if err == nil {
			_, err = archive.Write(text)
		}
		if err == nil {
			err = archive.Close()
		}
		if err == nil {
			err = s.writeFile(temp, func(w io.Writer) error {
				_, err := io.Copy(w, bytes.NewReader(text))
				return err
			})
		}
		return ca, sum, err
	})
}

// AddDerivation registers a derivation as a .drv file. Its output paths must be filled in and right
// (*derivation.OutputPathError), its inputs valid.
func (s *Store) AddDerivation(ctx context.Context, drv *derivation.Derivation) (store.StorePath, error) {
	if err := drv.Validate(); err != nil {
		return store.StorePath{}, err
	}
	return s.AddText(ctx, drv.Name+".drv", drv.ATerm(s.dir), drv.References())
}

// addContent registers what fill makes at a temporary name, under the path that its content address gives.
func (s *Store) addContent(ctx context.Context, name string, refs store.References,
	fill func(temp string) (store.ContentAddress, *sums, error)) (p store.StorePath, err error) {
	err = s.withTemp(ctx, func(temp string) error {
		ca, sum, err := fill(temp)
		if err != nil {
			return err
		}
		if p, err = s.dir.ContentPath(name, ca, refs); err != nil {
			return err
		}
		info := &store.PathInfo{
			Path: p, NarHash: store.SumOf(store.SHA256, sum.narHash), NarSize: sum.narSize, References: refs.Others, CA: ca,
		}
		return s.Register(ctx, store.Addition{Info: info, Temp: temp})
	})
	return p, err
}

// withTemp gives use a temporary name and gives the name up again.
func (s *Store) withTemp(ctx context.Context, use func(temp string) error) error {
	temp, err := s.NewTemp(ctx)
	if err != nil {
		return err
	}
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	return errors.Join(use(temp), s.DropTemp(temp))
}

// writeFile makes a canonical regular file in the object directory.
func (s *Store) writeFile(temp string, fill func(io.Writer) error) error {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(s.objects, temp, flags, 0o444)
	if err != nil {
		return &fs.PathError{Op: "create", Path: s.objectDir + "/" + temp, Err: err}
	}
	f := os.NewFile(uintptr(fd), s.objectDir+"/"+temp)
	err = fill(f)
	if err == nil {
		err = f.Chmod(0o444) // whatever the umask
	}
	if err == nil {
		err = unix.UtimesNanoAt(unix.AT_FDCWD, tree.ProcPath(fd), canonicalTimes, 0)
	}
	return errors.Join(err, f.Close())
}

// DumpNAR writes the NAR of a valid path that is here.
func (s *Store) DumpNAR(ctx context.Context, w io.Writer, p store.StorePath) error {
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	e, err := s.validEntry(s.db, "dump", p)
	if err == nil && e.state != Present {
		err = &store.PathError{Op: "dump", Dir: s.dir, Path: p, Err: errNotHere}
	}
	if err != nil {
		return err
	}
	_, err = nar.DumpAt(ctx, w, s.objects, p.String())
	return err
}
