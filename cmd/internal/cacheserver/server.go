package cacheserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	headerTime = 10 * time.Second // for a request's header to arrive
	idleTime   = 2 * time.Minute  // of a connection between requests
	stallTime  = time.Minute      // without a byte taken by the client
	maxHeader  = 16 << 10
)

// Options bound a Server. The zero value works.
type Options struct {
	MaxRequests int // served at a time; default 64
	Logger      *slog.Logger
}

// Serve answers requests on l until ctx is done, then lets those that are under way go on for a moment, and returns nil. It
// closes l.
func Serve(ctx context.Context, l net.Listener, h http.Handler, o Options) error {
	if o.MaxRequests == 0 {
		o.MaxRequests = 64
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &http.Server{
		Handler:           limit(logged(h, o.Logger), o.MaxRequests),
		ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		err := s.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = s.Close()
		}
		stopped <- err
	}()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving on %s: %w", l.Addr(), err)
	}
	return <-stopped
}

// limit answers 503 to what is too much.
func limit(h http.Handler, most int) http.Handler {
	slots := make(chan struct{}, most)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			h.ServeHTTP(&patientWriter{ResponseWriter: w, control: http.NewResponseController(w)}, r)
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests at a time", http.StatusServiceUnavailable)
		}
	})
}

// patientWriter allows a client any time for a whole response, and stallTime for each piece.
type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (w *patientWriter) Write(b []byte) (int, error) {
	// A writer without deadlines (a test's recorder) has no client that could stall.
	if err := w.control.SetWriteDeadline(time.Now().Add(stallTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}

func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func logged(h http.Handler, l *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, seen := time.Now(), &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			l.Info("request", "method", r.Method, "path", r.URL.Path, "status", seen.status, "bytes", seen.bytes,
				"client", r.RemoteAddr, "duration", time.Since(start))
		}()
		h.ServeHTTP(seen, r)
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
