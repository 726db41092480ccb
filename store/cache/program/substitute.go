package program

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"larder/nar"
	"larder/nar/tree"
	"larder/store"
)

// substitute lets a program of the early forms make the object, and streams its NAR. The object is complete before the
// first byte is delivered.
func (p *Program) substitute(ctx context.Context, n *store.NarInfo) (io.ReadCloser, error) {
	name := p.opt.StoreDir.Join(n.Path)
	dest, clean, err := p.destination(ctx, name)
	if err != nil {
		return nil, err
	}
	promised, err := p.make(ctx, name, dest)
	if err != nil {
		return nil, errors.Join(err, clean())
	}
	return newStream(ctx, p, n, func(ctx context.Context, w io.Writer) error {
		err := p.dump(ctx, w, n, dest, promised)
		return errors.Join(err, clean())
	}), nil
}

// destination is where the program makes the object.
func (p *Program) destination(ctx context.Context, name string) (dest string, clean func() error, err error) {
	ctx = context.WithoutCancel(ctx)
	if !p.at.inPlace {
		dir, err := os.MkdirTemp(p.opt.TempDir, "substitute-")
		return filepath.Join(dir, "object"), func() error { return tree.Remove(ctx, dir) }, err
	}
	// The path is not valid and the caller holds its lock: what lies there is not ours to remove.
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		return "", nil, errors.Join(fmt.Errorf("%s is there without being registered; 'larder gc --unregistered' removes such files", name), err)
	}
	return name, func() error { return tree.Remove(ctx, name) }, nil
}

// make runs the program. Promised is the hash that it prints, zero if none.
func (p *Program) make(ctx context.Context, name, dest string) (promised store.Hash, err error) {
	args := []string{"--substitute", name, dest}
	read := func(r *bufio.Reader) error {
		if end, err := atEnd(r); end || err != nil {
			return err
		}
		l, err := readLine(r)
		if err != nil || l == "" {
			return err
		}
		if promised, err = store.ParseHash(strings.TrimSpace(l), 0); err != nil {
			return corruptf("it prints %q, expected a hash of the NAR: %w", clip(l), err)
		}
		_, err = io.Copy(io.Discard, r)
		return err
	}
	if p.at.inPlace {
		args = args[:2]
		read = func(r *bufio.Reader) error {
			logLines(p.opt.Logger.With("program", p.at.program), r)
			return nil
		}
	}
	if err := p.runOnce(ctx, p.at.substituteTimeout, args, read); err != nil {
		return promised, err
	}
	if _, err := os.Lstat(dest); err != nil {
		return promised, fmt.Errorf("it did not make the object: %w", err)
	}
	return promised, nil
}

// dump writes the NAR of what the program made, and compares.
func (p *Program) dump(ctx context.Context, w io.Writer, n *store.NarInfo, dest string, promised store.Hash) error {
	algo, most := store.SHA256, p.at.maxNAR
	if !promised.IsZero() {
		algo = promised.Algo()
	}
	if n.NarSize > 0 {
		most = n.NarSize
	}
	sum := algo.New()
	size, err := nar.Dump(ctx, &bounded{w: io.MultiWriter(w, sum), left: most}, dest)
	if err != nil {
		return err
	}
	if n.NarSize > 0 && uint64(size) != n.NarSize {
		return corruptf("the NAR has %d bytes, expected %d", size, n.NarSize)
	}
	if got := store.SumOf(algo, sum); !promised.IsZero() && got != promised {
		return corruptf("hash mismatch: the program promised %s, and made %s", promised.Text(store.SRI), got.Text(store.SRI))
	}
	return nil
}

// bounded refuses to write more than there should be.
type bounded struct {
	w    io.Writer
	left uint64
}

func (b *bounded) Write(p []byte) (int, error) {
	if uint64(len(p)) > b.left {
		return 0, corruptf("the NAR is longer than expected")
	}
	b.left -= uint64(len(p))
	return b.w.Write(p)
}
