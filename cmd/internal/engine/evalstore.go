package engine

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"larder/store"
	"larder/store/local"
)

// openEvalStore opens what the setting eval-store names, for reading: the state directory of another Larder store. Its
// objects lie in "store" there, or where ?real= says.
func (e *Engine) openEvalStore(ctx context.Context) (*local.Store, error) {
	state, query, _ := strings.Cut(e.config.EvalStore, "?")
	fail := func(err error) (*local.Store, error) {
		return nil, fmt.Errorf("setting eval-store: %w", err)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return fail(err)
	}
	objects := filepath.Join(state, "store")
	for key := range values {
		if key != "real" || !filepath.IsAbs(values.Get(key)) {
			return fail(fmt.Errorf("after ? there can only be real=, and an absolute path, not %q", query))
		}
		objects = values.Get(key)
	}
	s, err := local.Open(ctx, local.Options{
		StoreDir: store.Dir(e.config.StoreDir), ObjectDir: objects, StateDir: state, ReadOnly: true, Logger: e.log,
	})
	if errors.Is(err, os.ErrNotExist) {
		return fail(fmt.Errorf("there is no store in %s with its objects in %s, or where ?real=DIR after it would say: %w", state, objects, err))
	}
	if err != nil {
		return fail(err)
	}
	return s, nil
}
