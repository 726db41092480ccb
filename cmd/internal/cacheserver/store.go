package cacheserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"larder/nar"
	"larder/store"
)

// Objects is the store that is served. Its methods may be called concurrently.
type Objects interface {
	Dir() store.Dir
	// PathFromHashPart returns a valid path; an error that matches store.ErrNotValid says that there is none.
	PathFromHashPart(ctx context.Context, digest [20]byte) (store.StorePath, error)
	PathInfo(ctx context.Context, p store.StorePath) (*store.PathInfo, error)
	DumpNAR(ctx context.Context, w io.Writer, p store.StorePath) error
	Listing(ctx context.Context, p store.StorePath) (*nar.Listing, error)
	// Log opens the log of a derivation's build; store.ErrNotFound if there is none.
	Log(ctx context.Context, drv store.StorePath) (io.ReadCloser, error)
	Realisations
}

// Store serves the valid paths of a store.
type Store struct {
	Objects  Objects
	Keys     []store.SecretKey // sign what is served, beside the signatures that are there
	Zstd     bool              // compress NARs
	Priority int               // 0: 30
	Logger   *slog.Logger
}

func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) { readOnly(s.get).ServeHTTP(w, r) }

func (s *Store) get(w http.ResponseWriter, r *http.Request) {
	err := s.route(w, r, strings.TrimPrefix(r.URL.Path, "/"))
	switch {
	case err == nil:
	case errors.Is(err, store.ErrNotValid), errors.Is(err, store.ErrNotFound):
		http.NotFound(w, r)
	default:
		if s.Logger != nil && r.Context().Err() == nil {
			s.Logger.Error("serving failed", "path", r.URL.Path, "error", err)
		}
		http.Error(w, "the store failed", http.StatusInternalServerError)
	}
}

// route answers a request. An error means that nothing was written yet.
func (s *Store) route(w http.ResponseWriter, r *http.Request, name string) error {
	if name == "nix-cache-info" {
		priority := s.Priority
		if priority == 0 {
			priority = defaultPriority
		}
		return text(w, typeCacheInfo, cacheInfo(s.Objects.Dir(), priority))
	}
	if digest, ok := digestName(name, ".narinfo"); ok {
		return s.narInfo(w, r, digest)
	}
	if digest, ok := digestName(name, ".ls"); ok {
		return s.listing(w, r, digest)
	}
	folder, rest, _ := strings.Cut(name, "/")
	switch folder {
	case "nar":
		return s.nar(w, r, rest)
	case "log":
		return s.log(w, r, rest)
	case "realisations":
		return s.realisation(w, r, rest)
	case "build-trace-v2":
		return s.buildTrace(w, r, rest)
	}
	return store.ErrNotFound
}

func (s *Store) narInfo(w http.ResponseWriter, r *http.Request, digest [20]byte) error {
	info, err := s.info(r.Context(), digest)
	if err != nil {
		return err
	}
	n := &store.NarInfo{PathInfo: *info.Clone(), URL: "nar/" + narName(info), Compression: "none"}
	if s.Zstd {
		// The compressed file does not exist before it is asked for: its hash and size are left out.
		n.Compression, n.URL = "zstd", n.URL+".zst"
	} else {
		n.FileHash, n.FileSize = info.NarHash, info.NarSize
	}
	for _, k := range s.Keys {
		n.Sign(s.Objects.Dir(), k)
	}
	return text(w, typeNarInfo, n.Text(s.Objects.Dir()))
}

func (s *Store) info(ctx context.Context, digest [20]byte) (*store.PathInfo, error) {
	p, err := s.Objects.PathFromHashPart(ctx, digest)
	if err != nil {
		return nil, err
	}
	return s.Objects.PathInfo(ctx, p)
}

// narName is the name of the uncompressed file.
func narName(i *store.PathInfo) string {
	return i.Path.HashPart() + "-" + i.NarHash.Encode(store.Nix32) + ".nar"
}

func (s *Store) listing(w http.ResponseWriter, r *http.Request, digest [20]byte) error {
	info, err := s.info(r.Context(), digest)
	if err != nil {
		return err
	}
	l, err := s.Objects.Listing(r.Context(), info.Path)
	if err != nil {
		return err
	}
	b, err := l.MarshalJSON()
	if err != nil {
		return err
	}
	return text(w, typeListing, string(b))
}

func (s *Store) log(w http.ResponseWriter, r *http.Request, name string) error {
	drv, err := store.ParseStorePath(name)
	if err != nil || !drv.IsDerivation() {
		return store.ErrNotFound
	}
	log, err := s.Objects.Log(r.Context(), drv)
	if err != nil {
		return err
	}
	defer log.Close()
	w.Header().Set("Content-Type", typeLog)
	if _, err := io.Copy(w, log); err != nil {
		panic(http.ErrAbortHandler) // the status is out; breaking the connection tells the client
	}
	return nil
}

func (s *Store) nar(w http.ResponseWriter, r *http.Request, name string) error {
	name, compressed := strings.CutSuffix(name, ".zst")
	if len(name) < 32 {
		return store.ErrNotFound
	}
	digest, err := store.ParseHashPart(name[:32])
	if err != nil {
		return store.ErrNotFound
	}
	info, err := s.info(r.Context(), digest)
	if err != nil {
		return err
	}
	if narName(info) != name {
		return store.ErrNotFound
	}
	w.Header().Set("Content-Type", typeNar)
	if compressed {
		return s.sendZstd(w, r, info)
	}
	return s.sendPlain(w, r, info)
}

func (s *Store) sendZstd(w http.ResponseWriter, r *http.Request, info *store.PathInfo) error {
	w.Header().Set("Accept-Ranges", "none")
	if r.Method == http.MethodHead {
		return nil
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	if err := s.Objects.DumpNAR(r.Context(), z, info.Path); err != nil {
		s.broken(info, err)
	}
	if err := z.Close(); err != nil {
		s.broken(info, err)
	}
	return nil
}

func (s *Store) sendPlain(w http.ResponseWriter, r *http.Request, info *store.PathInfo) error {
	size := int64(info.NarSize)
	start, end, err := byteRange(r.Header.Get("Range"), size)
	if err != nil {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		http.Error(w, err.Error(), http.StatusRequestedRangeNotSatisfiable)
		return nil
	}
	h := w.Header()
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(end-start, 10))
	h.Set("ETag", `"`+info.NarHash.Encode(store.Nix32)+`"`)
	if end-start != size {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, size))
		w.WriteHeader(http.StatusPartialContent)
	}
	if r.Method == http.MethodHead {
		return nil
	}
	out := &window{w: w, skip: start, left: end - start}
	if err := s.Objects.DumpNAR(r.Context(), out, info.Path); err != nil && !errors.Is(err, errWindowFull) {
		s.broken(info, err)
	}
	if out.left > 0 {
		s.broken(info, fmt.Errorf("%w: its NAR is %d bytes shorter than registered", store.ErrCorrupt, out.left))
	}
	return nil
}

// broken ends a response that has begun. The client sees a connection that broke, and never a short file that looks whole.
func (s *Store) broken(info *store.PathInfo, err error) {
	if s.Logger != nil {
		s.Logger.Warn("sending a NAR broke off", "path", info.Path, "error", err)
	}
	panic(http.ErrAbortHandler)
}

func text(w http.ResponseWriter, contentType, s string) error {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(s)))
	_, _ = io.WriteString(w, s) // a client that went away needs no answer
	return nil
}
