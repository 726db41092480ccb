package realiser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"larder/nar"
	"larder/store"
)

func (s *fakeStore) Replace(_ context.Context, adds ...store.Addition) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range adds {
		if s.infos[a.Info.Path] == nil {
			return store.ErrNotValid
		}
		err := errors.Join(os.RemoveAll(s.ObjectPath(a.Info.Path)), os.Rename(filepath.Join(s.objects, a.Temp), s.ObjectPath(a.Info.Path)))
		if err != nil {
			return err
		}
		s.infos[a.Info.Path] = a.Info
		s.adds[a.Info.Path]++
	}
	return nil
}

func (s *fakeStore) Confirm(_ context.Context, p store.StorePath, signatures ...store.Signature) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	info := s.infos[p].Clone()
	info.Ultimate, info.Signatures = true, signatures
	s.infos[p] = info
	return nil
}

// CheckContents finds derivations good: they have no object here.
func (s *fakeStore) CheckContents(ctx context.Context, p store.StorePath) error {
	info, err := s.PathInfo(ctx, p)
	if err != nil || p.IsDerivation() {
		return err
	}
	var b bytes.Buffer
	if _, err := nar.Dump(ctx, &b, s.ObjectPath(p)); err != nil || store.SHA256.Sum(b.Bytes()) != info.NarHash {
		return fmt.Errorf("%s: %w (%w)", p, store.ErrDamaged, err)
	}
	return nil
}
