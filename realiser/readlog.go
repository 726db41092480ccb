package realiser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dsnet/compress/bzip2"

	"larder/realiser/builder"
	"larder/store"
)

// LogSource is a Substituter that has build logs, too. *cache.Cache is one.
type LogSource interface {
	// Log opens the log of a derivation. An error that matches store.ErrNotFound is
	// the source's answer that it has none.
	Log(ctx context.Context, drv store.StorePath) (io.ReadCloser, error)
}

// logFile is where the log of a derivation lies, compressed or not: Nix's layout,
// so that its client finds it.
func (r *Realiser) logFile(drv store.StorePath, compressed bool) string {
	base := drv.String()
	file := filepath.Join(r.opt.LogDir, "drvs", base[:2], base[2:])
	if compressed {
		file += builder.CompressedLog
	}
	return file
}

// newLogFile is where the log of a build is going to be; "" if it is not kept.
func (r *Realiser) newLogFile(drv store.StorePath) string {
	if r.opt.NoBuildLogs {
		return ""
	}
	return r.logFile(drv, !r.opt.PlainBuildLogs)
}

// ReadLog returns the stored log of the last build of a derivation, or of the
// derivation that made or would make a path; if there is none here, that of a
// substituter. An error that matches store.ErrNotFound says that nobody has one.
func (r *Realiser) ReadLog(ctx context.Context, p store.StorePath) (io.ReadCloser, error) {
	find := r.makers
	if p.IsDerivation() {
		find = r.builtAs
	}
	drvs, err := find(ctx, p)
	if err != nil {
		return nil, err
	}
	for _, drv := range drvs {
		log, err := r.openLog(drv)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return log, err
		}
	}
	return r.fetchLog(ctx, p, drvs)
}

// makers returns the derivations that are known to make a path, first the one
// that did.
func (r *Realiser) makers(ctx context.Context, p store.StorePath) (drvs []store.StorePath, err error) {
	info, err := r.store.PathInfo(ctx, p)
	if err != nil && !errors.Is(err, store.ErrNotValid) {
		return nil, err
	}
	if err == nil && !info.Deriver.IsZero() {
		drvs = append(drvs, info.Deriver)
	}
	derivers, err := r.derivers(ctx, p)
	return append(drvs, derivers...), err
}

// openLog opens a log that lies here.
func (r *Realiser) openLog(drv store.StorePath) (io.ReadCloser, error) {
	plain, err := os.Open(r.logFile(drv, false))
	if !errors.Is(err, fs.ErrNotExist) {
		return plain, err
	}
	f, err := os.Open(r.logFile(drv, true))
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

// fetchLog asks the substituters in their order. One that fails hands on to the
// next.
func (r *Realiser) fetchLog(ctx context.Context, p store.StorePath, drvs []store.StorePath) (io.ReadCloser, error) {
	sources, err := r.sources.ordered(ctx)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, s := range sources {
		logs, ok := s.(LogSource)
		if !ok {
			continue
		}
		for _, drv := range r.makersAt(ctx, s, p, drvs) {
			log, err := logs.Log(ctx, drv)
			if err == nil {
				return log, nil
			}
			if !errors.Is(err, store.ErrNotFound) {
				failed = append(failed, err)
			}
		}
	}
	if len(failed) > 0 {
		return nil, fmt.Errorf("build log of '%s': %w", r.dir.Join(p), errors.Join(failed...))
	}
	return nil, fmt.Errorf("build log of '%s': %w", r.dir.Join(p), store.ErrNotFound)
}

// makersAt adds the derivation that a substituter says a path was made by.
func (r *Realiser) makersAt(ctx context.Context, s Substituter, p store.StorePath, known []store.StorePath) []store.StorePath {
	if p.IsDerivation() {
		return known
	}
	info, err := s.NarInfo(ctx, p)
	if err != nil || info.Deriver.IsZero() || slices.Contains(known, info.Deriver) || !strings.HasSuffix(info.Deriver.Name(), ".drv") {
		return known
	}
	return append(slices.Clip(known), info.Deriver)
}
