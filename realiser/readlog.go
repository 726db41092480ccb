package realiser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dsnet/compress/bzip2"

	"larder/store"
)

// logPath is where the log of a derivation lies: Nix's layout, so that its
// client finds it.
func (r *Realiser) logPath(drv store.StorePath) string {
	base := drv.String()
	return filepath.Join(r.opt.LogDir, "drvs", base[:2], base[2:]+".bz2")
}

// ReadLog returns the stored log of the last build of a derivation, or of the
// derivation that made or would make a path. An error that matches
// store.ErrNotFound says that there is none.
func (r *Realiser) ReadLog(ctx context.Context, p store.StorePath) (io.ReadCloser, error) {
	drvs := []store.StorePath{p}
	if !p.IsDerivation() {
		drvs = nil
		info, err := r.store.PathInfo(ctx, p)
		if err != nil && !errors.Is(err, store.ErrNotValid) {
			return nil, err
		}
		if err == nil && !info.Deriver.IsZero() {
			drvs = append(drvs, info.Deriver)
		}
		derivers, err := r.store.ValidDerivers(ctx, p)
		if err != nil {
			return nil, err
		}
		drvs = append(drvs, derivers...)
	}
	for _, drv := range drvs {
		log, err := r.openLog(drv)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return log, err
		}
	}
	return nil, fmt.Errorf("build log of '%s': %w", r.dir.Join(p), store.ErrNotFound)
}

func (r *Realiser) openLog(drv store.StorePath) (io.ReadCloser, error) {
	f, err := os.Open(r.logPath(drv))
	if err != nil {
		return nil, err
	}
	z, err := bzip2.NewReader(f, nil)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("build log of '%s': %w", r.dir.Join(drv), err)
	}
	return &logReader{z, f}, nil
}

type logReader struct {
	*bzip2.Reader
	file *os.File
}

func (l *logReader) Close() error { return errors.Join(l.Reader.Close(), l.file.Close()) }
