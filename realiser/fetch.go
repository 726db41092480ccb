package realiser

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"slices"

	"larder/nar"
	"larder/realiser/content"
	"larder/store"
)

// progressStep is how many bytes go by between two progress events.
const progressStep = 1 << 20

// fetch streams a NAR from a substituter: unpacked, hashed and counted in one
// pass, and registered if it is what the narinfo promised. The caller holds the
// import lock and a slot.
func (r *Realiser) fetch(g *goal, s Substituter, info *store.NarInfo) (err error) {
	temp, err := r.store.NewTemp(g.ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = r.dropTemp(temp, err)
		}
	}()
	r.enter(g, PhaseDownloading, s.String())
	registered := info.PathInfo.Clone()
	if registered.NarHash, registered.NarSize, err = r.unpack(g, s, info, temp); errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("%s: %w", s, err)
	} else if err != nil {
		return err
	}
	r.enter(g, PhaseRegistering, "")
	registered.RegistrationTime = r.opt.Now()
	registered.Ultimate = false
	return r.admit(g, store.Addition{Info: registered, Temp: temp})
}

// dropTemp removes what lies at temp because of err.
func (r *Realiser) dropTemp(temp string, err error) error {
	if failed := r.store.DropTemp(temp); failed != nil {
		return fmt.Errorf("%w (and what was made so far could not be removed: %w)", err, failed)
	}
	return err
}

// unpack restores the NAR at temp, verifies it, and returns its hash and size.
func (r *Realiser) unpack(g *goal, s Substituter, info *store.NarInfo, temp string) (sum store.Hash, size uint64, err error) {
	body, err := s.NAR(g.ctx, info)
	if err != nil {
		return sum, 0, err
	}
	defer body.Close()
	objects, err := os.Open(r.store.ObjectDir())
	if err != nil {
		return sum, 0, err
	}
	defer objects.Close()

	in := &narReader{r: body, sum: sha256.New(), most: cmp.Or(info.NarSize, math.MaxInt64), progress: func(done int64) {
		g.bytesDone.Store(done)
		ev := r.event(g, GoalProgress)
		ev.BytesDone, ev.BytesTotal = done, int64(info.NarSize)
		r.events.publish(ev)
	}}
	if !info.CA.IsZero() {
		in.content = content.OverNAR(info.CA.Method, info.CA.Hash.Algo(), selfPart(info))
	}
	_, err = nar.RestoreAt(g.ctx, in, int(objects.Fd()), temp, nar.RestoreOptions{Canonical: true})
	var bad *nar.FormatError
	g.fetched.Store(int64(info.FileSize))
	if d, ok := body.(interface{ Downloaded() int64 }); ok {
		g.fetched.Store(d.Downloaded())
	}
	sum, size = store.SumOf(store.SHA256, in.sum), in.n
	switch {
	case errors.As(err, &bad):
		err = fmt.Errorf("%w: %w", store.ErrCorrupt, bad)
	case err != nil && in.failed != nil:
		err = in.failed // which says what and where; the temporary name says nothing
	case err != nil:
	case info.NarSize != 0 && size != info.NarSize:
		err = fmt.Errorf("%w: size mismatch importing path '%s': specified %d, got %d", store.ErrCorrupt, r.dir.Join(info.Path), info.NarSize, size)
	case !info.NarHash.IsZero() && sum != info.NarHash:
		err = fmt.Errorf("%w: hash mismatch importing path '%s': specified %s, got %s", store.ErrCorrupt,
			r.dir.Join(info.Path), info.NarHash.Text(store.SRI), sum.Text(store.SRI))
	default:
		err = r.verifyContent(g.ctx, info, in.content, int(objects.Fd()), temp)
	}
	return sum, size, err
}

// selfPart is the hash part that content hashes leave out: the object's own, if it refers to itself.
func selfPart(info *store.NarInfo) string {
	if slices.Contains(info.References, info.Path) {
		return info.Path.HashPart()
	}
	return ""
}

// verifyContent checks a content address. It stands for a signature, so nothing
// that it does not cover, such as an executable bit, may be there.
func (r *Realiser) verifyContent(ctx context.Context, info *store.NarInfo, overNAR hash.Hash, dirfd int, temp string) error {
	if info.CA.IsZero() {
		return nil
	}
	algo := info.CA.Hash.Algo()
	var got store.Hash
	var err error
	if overNAR != nil {
		got = store.SumOf(algo, overNAR)
	} else {
		got, err = content.Of(ctx, dirfd, temp, info.CA.Method, algo, selfPart(info))
	}
	switch {
	case errors.Is(err, content.ErrNotPlain) || errors.Is(err, content.ErrNoObject):
		return fmt.Errorf("%w: content-addressed path '%s': %w", store.ErrCorrupt, r.dir.Join(info.Path), err)
	case err != nil:
		return err
	case got != info.CA.Hash:
		return fmt.Errorf("%w: content-address mismatch importing path '%s': specified %s, got %s", store.ErrCorrupt,
			r.dir.Join(info.Path), info.CA.Hash.Text(store.SRI), got.Text(store.SRI))
	}
	return nil
}

// narReader hashes and counts what is read, and refuses more than there should be.
type narReader struct {
	r        io.Reader
	sum      hash.Hash
	content  hash.Hash // or nil
	n, most  uint64
	progress func(done int64)
	told     uint64
	failed   error // what Read returned but for the end
}

func (s *narReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += uint64(n)
	if s.n > s.most {
		s.failed = fmt.Errorf("%w: the NAR is longer than the %d bytes that were promised", store.ErrCorrupt, s.most)
		return 0, s.failed
	}
	s.sum.Write(p[:n])
	if s.content != nil {
		s.content.Write(p[:n])
	}
	if err != nil && err != io.EOF {
		s.failed = err
	}
	if s.n-s.told >= progressStep || err == io.EOF {
		s.told = s.n
		s.progress(int64(s.n))
	}
	return n, err
}
