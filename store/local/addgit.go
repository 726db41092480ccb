package local

import (
	"context"
	"fmt"

	"larder/nar/git"
	"larder/store"
)

// addGit is AddTree under the id that git gives. The copy is read once more for it.
func (s *Store) addGit(ctx context.Context, name, path string, algo store.HashAlgo, refs store.References) (store.StorePath, error) {
	if err := store.Git.CheckAlgo(algo); err != nil {
		return store.StorePath{}, fmt.Errorf("add %s: %w", path, err)
	}
	sum := newSums(store.SHA256)
	return s.addContent(ctx, name, refs, func(temp string) (store.ContentAddress, *sums, error) {
		if err := s.copyTree(ctx, path, temp, sum); err != nil {
			return store.ContentAddress{}, nil, err
		}
		id, err := git.ObjectIDAt(ctx, s.objects, temp, algo.New)
		if err != nil {
			return store.ContentAddress{}, nil, fmt.Errorf("add %s: %w", path, err)
		}
		h, err := store.NewHash(algo, id)
		return store.ContentAddress{Method: store.Git, Hash: h}, sum, err
	})
}
