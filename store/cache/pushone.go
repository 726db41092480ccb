package cache

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"io"

	"larder/nar"
	"larder/store"
	"larder/store/compress"
)

// one pushes one path.
func (p *push) one(ctx context.Context, info *store.PathInfo, done map[store.StorePath]chan struct{}) error {
	if old := p.existing(info); old != nil {
		p.done(old, true)
		return nil
	}
	n, listing, err := p.writeNAR(ctx, info)
	if err != nil {
		return err
	}
	if p.opt.Key != nil {
		n.Sign(p.cache.opt.StoreDir, *p.opt.Key)
	}
	if listing != nil {
		if err := writeFile(p.root, listingName(info.Path), listing); err != nil {
			return err
		}
	}
	for _, ref := range info.References {
		if err := p.wait(ctx, info.Path, ref, done); err != nil {
			return err
		}
	}
	if err := writeFile(p.root, narInfoName(info.Path), []byte(n.Text(p.cache.opt.StoreDir))); err != nil {
		return err
	}
	p.done(n, false)
	return nil
}

// existing returns the narinfo that the cache has of the path, nil if it has none that is of use.
func (p *push) existing(info *store.PathInfo) *store.NarInfo {
	b, err := p.cache.files.get(context.Background(), narInfoName(info.Path), store.MaxNarInfo)
	if err != nil {
		return nil
	}
	n, err := store.ParseNarInfo(p.cache.opt.StoreDir, string(b))
	if err != nil || n.Path != info.Path {
		return nil
	}
	if _, err := p.root.Stat(n.URL); err != nil {
		return nil
	}
	return n
}

// wait returns when the narinfo of a reference is in the cache.
func (p *push) wait(ctx context.Context, path, ref store.StorePath, done map[store.StorePath]chan struct{}) error {
	if ref == path {
		return nil
	}
	if c := done[ref]; c != nil {
		select {
		case <-c:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if _, err := p.root.Stat(narInfoName(ref)); err != nil {
		return fmt.Errorf("its reference %s is neither pushed nor in the cache; push the closure", p.cache.opt.StoreDir.Join(ref))
	}
	return nil
}

func (p *push) done(n *store.NarInfo, existed bool) {
	if p.opt.Done == nil {
		return
	}
	p.doneMu.Lock()
	defer p.doneMu.Unlock()
	p.opt.Done(n, existed)
}

// writeNAR compresses the path's NAR into the cache, and returns its narinfo and, if wanted, its listing.
func (p *push) writeNAR(ctx context.Context, info *store.PathInfo) (*store.NarInfo, []byte, error) {
	f, err := createTemp(p.root, "nar")
	if err != nil {
		return nil, nil, err
	}
	defer f.discard()
	file := &hashing{w: f, hash: sha256.New()}
	enc, err := compress.NewWriter(p.opt.Compression, p.opt.Level, file)
	if err != nil {
		return nil, nil, err
	}
	plain := &hashing{w: enc, hash: sha256.New()}
	listing, err := p.dump(ctx, plain, info.Path)
	if err := cmp.Or(err, enc.Close()); err != nil {
		return nil, nil, err
	}
	narHash := store.SumOf(store.SHA256, plain.hash)
	if narHash != info.NarHash || uint64(plain.size) != info.NarSize {
		return nil, nil, corruptf("its NAR has hash %s and size %d, registered are %s and %d", narHash, plain.size, info.NarHash, info.NarSize)
	}
	n := &store.NarInfo{PathInfo: *info.Clone(), Compression: p.opt.Compression, FileSize: uint64(file.size)}
	n.FileHash = store.SumOf(store.SHA256, file.hash)
	n.URL = "nar/" + n.FileHash.Encode(store.Nix32) + ".nar" + compress.Suffix(p.opt.Compression)
	return n, listing, f.commit(n.URL)
}

// dump writes a NAR and, if wanted, lists it meanwhile.
func (p *push) dump(ctx context.Context, w io.Writer, path store.StorePath) ([]byte, error) {
	if !p.opt.WriteListing {
		return nil, p.src.DumpNAR(ctx, w, path)
	}
	r, pw := io.Pipe()
	type result struct {
		listing *nar.Listing
		err     error
	}
	listed := make(chan result)
	go func() {
		l, err := nar.ReadListing(r)
		r.CloseWithError(err)
		listed <- result{l, err}
	}()
	err := p.src.DumpNAR(ctx, io.MultiWriter(w, pw), path)
	pw.CloseWithError(err)
	got := <-listed
	if err := cmp.Or(err, got.err); err != nil {
		return nil, err
	}
	return json.Marshal(got.listing)
}

// hashing counts and hashes what is written through it.
type hashing struct {
	w    io.Writer
	hash hash.Hash
	size int64
}

func (h *hashing) Write(p []byte) (int, error) {
	n, err := h.w.Write(p)
	h.hash.Write(p[:n])
	h.size += int64(n)
	return n, err
}
