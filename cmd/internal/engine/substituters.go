package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"larder/nar/tree"
	"larder/realiser"
	"larder/store/cache"
	"larder/store/cache/program"
)

var _ realiser.LogSource = (*cache.Cache)(nil)

// substituter is a source of the realiser that has to be closed.
type substituter interface {
	realiser.Substituter
	io.Closer
}

// openSubstituters opens what the setting substituters names: binary caches, and programs (exec:).
func (e *Engine) openSubstituters(ctx context.Context) (all []substituter, err error) {
	caches, err := CacheOptions(e.config)
	if err != nil {
		return nil, err
	}
	caches.Logger = e.log
	if !e.opt.ReadOnly {
		caches.Memory = e.store
	}
	programs := program.Options{StoreDir: e.store.Dir(), ObjectDir: e.store.ObjectDir(), Policy: caches.Policy, Logger: e.log,
		TempDir: filepath.Join(e.store.StateDir(), "substitutes")}
	defer func() {
		if err != nil {
			for _, s := range all {
				err = errors.Join(err, s.Close())
			}
		}
	}()
	for _, url := range e.config.Substituters {
		var s substituter
		if strings.HasPrefix(url, program.Scheme+":") {
			s, err = e.openProgram(ctx, url, programs)
		} else {
			s, err = cache.Open(ctx, url, caches)
		}
		if err != nil {
			return all, fmt.Errorf("setting substituters: %w", err)
		}
		all = append(all, s)
	}
	return all, nil
}

// openProgram opens a program and makes the directory for what it makes.
func (e *Engine) openProgram(ctx context.Context, url string, o program.Options) (*program.Program, error) {
	if !e.opt.ReadOnly {
		// Nobody else has this store open: what is there, a crash has left.
		if err := tree.Remove(ctx, o.TempDir); err != nil {
			return nil, err
		}
		if err := os.Mkdir(o.TempDir, 0o700); err != nil {
			return nil, err
		}
	}
	return program.Open(url, o)
}
