package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"larder/cmd/internal/control"
	"larder/nar"
	"larder/store"
)

// Add implements control.Service. The object is unpacked under a temporary name, hashed on the way, and registered under
// the path that its content gives.
func (e *Engine) Add(ctx context.Context, q control.AddRequest, r io.Reader) (p store.StorePath, err error) {
	if err := checkAdd(q); err != nil {
		return p, err
	}
	defer e.store.AddTempRoot(q.References...)()
	temp, err := e.store.NewTemp(ctx)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, e.store.DropTemp(temp)) }()
	info, err := e.unpack(ctx, q, r, filepath.Join(e.store.ObjectDir(), temp))
	if err != nil {
		return p, fmt.Errorf("adding %s: %w", q.Name, err)
	}
	return info.Path, e.store.Register(ctx, store.Addition{Info: info, Temp: temp})
}

func checkAdd(q control.AddRequest) error {
	if err := store.CheckName(q.Name); err != nil {
		return err
	}
	if q.Method == 0 || q.Algo == 0 {
		return fmt.Errorf("adding %s: no method or hash algorithm", q.Name)
	}
	return nil
}

func (e *Engine) unpack(ctx context.Context, q control.AddRequest, r io.Reader, dest string) (*store.PathInfo, error) {
	narHash, own := sha256.New(), q.Algo.New()
	opt := nar.RestoreOptions{Canonical: true}
	var w io.Writer = narHash
	switch {
	case q.Method != store.Recursive:
		opt.OnEntry = onlyPlainFile
	case q.Algo != store.SHA256:
		w = io.MultiWriter(narHash, own)
	}
	size, err := nar.Restore(ctx, io.TeeReader(r, w), dest, opt)
	if err != nil {
		return nil, err
	}
	ca := store.ContentAddress{Method: q.Method}
	switch {
	case q.Method != store.Recursive:
		if ca.Hash, err = hashFile(dest, q.Algo); err != nil {
			return nil, err
		}
	case q.Algo == store.SHA256:
		ca.Hash = store.SumOf(store.SHA256, narHash)
	default:
		ca.Hash = store.SumOf(q.Algo, own)
	}
	p, err := e.Dir().ContentPath(q.Name, ca, store.References{Others: q.References})
	if err != nil {
		return nil, err
	}
	return &store.PathInfo{Path: p, NarHash: store.SumOf(store.SHA256, narHash), NarSize: uint64(size),
		References: store.SortPaths(q.References), CA: ca}, nil
}

var errNotPlain = errors.New("to be addressed by its contents alone it must be a regular file that is not executable")

func onlyPlainFile(n *nar.Entry) error {
	if n.Path != "" || n.Type != nar.Regular || n.Executable {
		return errNotPlain
	}
	return nil
}

func hashFile(name string, algo store.HashAlgo) (store.Hash, error) {
	f, err := os.Open(name)
	if err != nil {
		return store.Hash{}, err
	}
	defer f.Close()
	h := algo.New()
	if _, err := io.Copy(h, f); err != nil {
		return store.Hash{}, err
	}
	return store.SumOf(algo, h), nil
}

// AddDerivation implements control.Service.
func (e *Engine) AddDerivation(ctx context.Context, name string, text []byte) (store.StorePath, error) {
	drv, err := control.ParseDerivation(e.Dir(), name, text)
	if err != nil {
		return store.StorePath{}, err
	}
	defer e.store.AddTempRoot(drv.References()...)()
	if err := e.hasher.Fill(ctx, drv); err != nil {
		return store.StorePath{}, err
	}
	return e.store.AddDerivation(ctx, drv)
}
